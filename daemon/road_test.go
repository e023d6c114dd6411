package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/connectors/kafka/kafkatest"
	"hotsync/daemon"
	"hotsync/daemon/config"
	"hotsync/embedded/embeddedtest"
	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// road is a whole hotsync in one process: real Kafka protocol, real ClickHouse,
// the simulated vendors over HTTP.
type road struct {
	t      *testing.T
	cfg    config.Config
	zuora  *zuora.Server
	stripe *stripe.Server
	limio  *limio.Server
	sql    embeddedtest.Server
	client *kafka.Client
	writer *kafka.Writer
	clock  *httpsim.Clock
	stop   func()
	daemon *daemon.Daemon
	logins int // sent so far
}

const (
	issuer = "https://login.example.test/"
	secret = "whsec_sandbox"
)

// newRoad prepares everything but the daemon.
func newRoad(t *testing.T) *road {
	t.Helper()
	r := &road{t: t, clock: httpsim.RunningClock(), sql: embeddedtest.ClickHouse(t), stop: func() {}}
	r.zuora = zuora.New(zuora.Config{Clock: r.clock, Seed: 1})
	r.stripe = stripe.New(stripe.Config{Clock: r.clock, Seed: 2})
	r.limio = limio.New(limio.Config{Clock: r.clock, Seed: 3, Zuora: r.zuoraSource, Stripe: r.stripeSource})
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	dir := t.TempDir()
	file := func(name, value string) config.Ref {
		path := filepath.Join(dir, name)
		r.must(os.WriteFile(path, []byte(value), 0o600))
		return config.Ref("file:" + path)
	}

	c := config.Default()
	c.Kafka.Brokers = []string{kafkatest.Broker(t)}
	c.Kafka.Prefix = kafkatest.Name("hotsync")
	c.Kafka.LoginTopic, c.Kafka.StripeTopic = kafkatest.Name("logins"), kafkatest.Name("stripe")
	c.Kafka.Partitions, c.Kafka.Replication = 3, 1
	c.Kafka.SessionTimeout, c.Kafka.RebalanceTimeout, c.Kafka.HeartbeatInterval = 10*time.Second, 10*time.Second, 500*time.Millisecond
	c.Workers.DrainTimeout = 4 * time.Second
	c.Workers.Coalesce = 300 * time.Millisecond
	c.ClickHouse.Addr, c.ClickHouse.Database = []string{r.sql.Addr}, r.sql.Database
	c.ClickHouse.Flush = 100 * time.Millisecond
	c.Zuora.BaseURL, c.Zuora.ClientID, c.Zuora.ClientSecret = serve(r.zuora), "hotsync", file("zuora", "sandbox-secret")
	c.Stripe.BaseURL, c.Stripe.APIKey, c.Stripe.WebhookSecrets = serve(r.stripe), file("stripe", "sk_test_sandbox"), []config.Ref{file("webhooks", secret)}
	c.Limio.BaseURL, c.Limio.ClientID, c.Limio.ClientSecret = serve(r.limio), "hotsync", file("limio", "sandbox-secret")
	c.Login.Providers = []config.Provider{{
		Name: "idp", Issuer: issuer, Audience: []string{"shop"}, TrustedClaims: true,
		Claims: []config.Claim{
			{Claim: "zuora_accounts", Service: "zuora", Issuer: "zuora", Type: "account"},
			{Claim: "sub", Service: "zuora", Issuer: "zuora", Type: "account", Lookup: true, LookupField: "LimioExternalId__c"},
		},
	}}
	c.Reconcile.Loop.Settle, c.Reconcile.Loop.Window = 2*time.Second, 5*time.Second
	c.Retry.MemoryBase, c.Retry.First, c.Retry.Second = 20*time.Millisecond, time.Second, 2*time.Second
	c.Retry.FirstTries, c.Retry.SecondTries = 2, 2
	for _, s := range []*config.Sweep{&c.Sweeps.ZuoraChanged, &c.Sweeps.ZuoraFull, &c.Sweeps.StripeEvents, &c.Sweeps.StripeDrift, &c.Sweeps.LimioOrphans} {
		s.Schedule = "" // a test that runs at a quarter past would see one
	}
	c.Stripe.PerSecond, c.Zuora.PerSecond, c.Limio.PerSecond = 0, 0, 0
	c.HTTP.Listen = "127.0.0.1:0"
	r.cfg = c

	kc, err := c.KafkaConfig()
	r.must(err)
	r.client, err = kafka.New(kc)
	r.must(err)
	t.Cleanup(r.client.Close)
	r.writer = kafka.NewWriter(r.client, kafka.WriterConfig{MaxBytes: 12 << 20})
	t.Cleanup(r.writer.Close)
	r.must(r.client.EnsureTopics(t.Context(), []kafka.Topic{
		{Name: c.Kafka.LoginTopic, Partitions: 2, Replication: 1, MaxMessageBytes: 12 << 20},
		{Name: c.Kafka.StripeTopic, Partitions: 2, Replication: 1, MaxMessageBytes: 12 << 20},
	}))
	return r
}

func (r *road) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// start runs the daemon until the test ends or stop is called.
func (r *road) start() *road {
	r.t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(r.t)).Level(zerolog.WarnLevel)
	d, err := daemon.New(r.cfg, daemon.Options{Log: log, Now: r.clock.Now, Instance: "test", Build: "test"})
	r.must(err)
	r.daemon = d
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("daemon: %v", err)
			}
		case <-time.After(60 * time.Second):
			r.t.Error("the daemon did not stop")
		}
	}
	r.t.Cleanup(func() { r.stop() })
	r.eventually("ready", func() bool { return d.Ready() && !strings.Contains(r.get("/readyz"), "degraded") })
	return r
}

// get returns a body of the daemon's HTTP server.
func (r *road) get(path string) string {
	r.t.Helper()
	resp, err := http.Get("http://" + r.daemon.Addr() + path)
	r.must(err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	r.must(err)
	return string(b)
}

// eventually waits until a condition holds.
func (r *road) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("never happened: %s\nsyncs:\n%s", what, r.query("SELECT key, outcome, reason, note, error FROM {db}.syncs FORMAT TSV"))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.t.Context().Done():
			r.t.Fatal(r.t.Context().Err())
		}
	}
}

// query runs SQL; {db} is the test's database.
func (r *road) query(sql string) string {
	return strings.TrimSpace(r.sql.Exec(r.t, strings.ReplaceAll(sql, "{db}", r.sql.Database)))
}

// outcomes waits until as many triggers have an outcome as asked for, and
// returns how often each outcome/reason came.
func (r *road) outcomes(n int) map[string]int {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d triggers answered", n), func() bool {
		return r.query("SELECT count() FROM {db}.trigger_outcomes WHERE outcome NOT IN ('', 'deferred')") == fmt.Sprint(n)
	})
	out := map[string]int{}
	for line := range strings.Lines(r.query("SELECT concat(outcome, '/', reason), count() FROM {db}.trigger_outcomes GROUP BY 1 FORMAT TSV")) {
		var name string
		var count int
		if _, err := fmt.Sscan(line, &name, &count); err == nil {
			out[name] = count
		}
	}
	return out
}

func (r *road) produce(topic string, value []byte, headers ...kafka.Header) {
	r.t.Helper()
	r.must(r.writer.Write(r.t.Context(), kafka.Record{Topic: topic, Value: value, Headers: headers}))
}

// login sends a login whose claims are trusted.
func (r *road) login(claims map[string]any) {
	r.t.Helper()
	r.logins++
	b, err := json.Marshal(map[string]any{
		"id": fmt.Sprintf("login-%d", r.logins), "occurred_at": r.clock.Now().Format(time.RFC3339Nano), "provider": "idp", "claims": claims,
	})
	r.must(err)
	r.produce(r.cfg.Kafka.LoginTopic, b)
}

// webhooks sends everything that Stripe has to tell, signed, and returns how
// many messages that were.
func (r *road) webhooks() int {
	r.t.Helper()
	events := r.stripe.TakeEvents()
	for _, e := range events {
		r.produce(r.cfg.Kafka.StripeTopic, e.Body, kafka.Header{Key: "Stripe-Signature", Value: []byte(r.stripe.Sign(e.Body, time.Now()))})
	}
	return len(events)
}

// zuoraSource is what Limio's own sync endpoint reads.
func (r *road) zuoraSource(_ context.Context, number string) (limio.ZuoraSubscription, error) {
	s, ok := r.zuora.Subscription(number)
	if !ok {
		return limio.ZuoraSubscription{}, limio.ErrUnknown
	}
	a, _ := r.zuora.Account(s.AccountID)
	out := limio.ZuoraSubscription{
		Number: s.Number, Status: s.Status, TermStart: s.TermStartDate.Time(), TermEnd: s.TermEndDate.Time(), AutoRenew: s.AutoRenew,
		Account: limio.ZuoraAccount{ID: a.ID, Name: a.Name},
	}
	if a.CRMID != nil {
		out.Account.CRMID = *a.CRMID
	}
	if b := a.BillTo; b != nil {
		out.Account.FirstName, out.Account.LastName, out.Account.Email = b.FirstName, b.LastName, b.WorkEmail
		out.BillTo = limio.Address{FirstName: b.FirstName, LastName: b.LastName, Address1: b.Address1, City: b.City, PostalCode: b.PostalCode, Country: "IE"}
		out.SoldTo = out.BillTo
	}
	return out, nil
}

// zuoraAccount makes an account with n subscriptions, a card and an external id.
func (r *road) zuoraAccount(external string, n int) zuora.Account {
	r.t.Helper()
	a, err := r.zuora.AddAccount(zuora.Account{
		Name: "Ada Reader", CustomFields: map[string]any{"LimioExternalId__c": external},
		BillTo: &zuora.Contact{FirstName: "Ada", LastName: "Reader", Address1: "1 Quay St", City: "Galway", PostalCode: "H91", Country: "Ireland", WorkEmail: "ada@example.test"},
	})
	r.must(err)
	m, err := r.zuora.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard", CardNumber: "************4242", CardType: "Visa", ExpMonth: 9, ExpYear: 2031})
	r.must(err)
	r.must(r.zuora.SetDefaultPaymentMethod(a.ID, m.ID))
	for i := range n {
		_, err := r.zuora.AddSubscription(zuora.Subscription{
			AccountID: a.ID, AutoRenew: true,
			RatePlans: []zuora.RatePlan{{ProductName: "Digital", ProductRatePlanID: fmt.Sprintf("prp%d", i), Name: "Annual", Charges: []zuora.Charge{{Name: "Fee", Price: 11988, Quantity: 1, BillingPeriod: "Annual"}}}},
		}, zuora.Order{})
		r.must(err)
	}
	return a
}

// stripeSubscription makes a subscription in Stripe with its Limio record.
func (r *road) stripeSubscription() (stripe.Subscription, string) {
	r.t.Helper()
	c, err := r.stripe.AddCustomer(stripe.CustomerParams{Name: "Bo", Email: "bo@example.test"})
	r.must(err)
	_, err = r.stripe.AddPaymentMethod(stripe.PaymentMethodParams{Customer: c.ID, Default: true})
	r.must(err)
	cus, _ := r.limio.AddCustomer(limio.CustomerParams{Name: "Bo"})
	id := r.limio.AddSubscription(limio.SubscriptionParams{Customer: cus, TermStart: r.clock.Now(), Amount: 4200, Currency: "EUR"})
	s, err := r.stripe.AddSubscription(stripe.SubscriptionParams{
		Customer: c.ID, Item: stripe.ItemParams{Currency: "eur", Amount: 4200}, Start: r.clock.Now().AddDate(0, -2, -3),
		Metadata: map[string]string{"limio_subscription_id": id},
	})
	r.must(err)
	r.stripe.TakeEvents() // its creation is history
	return s, id
}
