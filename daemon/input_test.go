package daemon_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hotsync/connectors/kafka"
	"hotsync/sandbox/httpsim"
)

func bodyOf(fields map[string]any) []byte {
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return b
}

// tokenLogin is a login message with an ID token.
func tokenLogin(provider, token string) []byte {
	return bodyOf(map[string]any{"id": "l", "occurred_at": time.Now().Format(time.RFC3339Nano), "provider": provider, "id_token": token})
}

// Every kind of bad input ends in a row that says why, and in a dead letter
// when it can never be read; the partition goes on behind it (Invariant 5).
func TestBadInput(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	p := newIDP(t)
	r.cfg.Login.Providers = append(r.cfg.Login.Providers, p.provider())
	a := r.zuoraAccount("twice", 1)
	r.zuoraAccount("twice", 1)
	r.start()
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	r.must(err)
	account := map[string]any{"zuora_accounts": a.ID}
	leaked := p.token(jose.RS256, nil, account)
	expired := map[string]any{"zuora_accounts": a.ID, "exp": time.Now().Add(-time.Hour).Unix(), "iat": time.Now().Add(-2 * time.Hour).Unix()}
	claim := func(v any) []byte {
		return tokenLogin("signed", p.token(jose.RS256, nil, map[string]any{"zuora_accounts": v}))
	}
	event := func(typ string) []byte {
		return bodyOf(map[string]any{"id": "evt_1", "object": "event", "type": typ, "created": 1, "data": map[string]any{"object": map[string]any{"id": "sub_x"}}})
	}
	signature := func(body []byte) kafka.Header {
		return kafka.Header{Key: "Stripe-Signature", Value: []byte(r.stripe.Sign(body, time.Now()))}
	}

	cases := []struct {
		name    string
		topic   string
		body    []byte
		headers []kafka.Header
		want    string
		more    int // further triggers that it leads to
		note    string
	}{
		{name: "login that is not JSON", topic: "login", body: []byte("not json"), want: "rejected/undecodable"},
		{name: "login of 10 MB", topic: "login", body: bytes.Repeat([]byte("x"), 10<<20), want: "rejected/too_large"},
		{name: "login with 3 MB of headers", topic: "login", body: []byte("not json"), want: "rejected/undecodable", headers: []kafka.Header{
			{Key: "junk", Value: bytes.Repeat([]byte{1}, 3<<20)}, {Key: "Authorization", Value: []byte("Bearer " + leaked)},
		}},
		{name: "login whose id is a number of 900,000 digits", topic: "login", want: "rejected/undecodable",
			body: []byte(`{"provider":"idp","id":` + strings.Repeat("9", 900_000) + `}`)},
		{name: "expired token", topic: "login", body: tokenLogin("signed", p.token(jose.RS256, nil, expired)), want: "rejected/bad_token"},
		{name: "token signed by a stranger", topic: "login", body: tokenLogin("signed", p.token(jose.RS256, stranger, account)), want: "rejected/bad_token"},
		{name: "alg none", topic: "login", body: tokenLogin("signed", p.unsigned(account)), want: "rejected/bad_token"},
		{name: "unknown provider", topic: "login", body: tokenLogin("nobody", p.token(jose.RS256, nil, account)), want: "rejected/bad_token"},
		{name: "claim null", topic: "login", body: claim(nil), want: "skipped/no_claim"},
		{name: "claim with quotes and control characters", topic: "login", body: claim("2c92'\"\x01\n; drop"), want: "skipped/no_claim"},
		{name: "two accounts with one external id", topic: "login", want: "skipped/ambiguous_match",
			body: tokenLogin("signed", p.token(jose.ES256, nil, map[string]any{"sub": "twice"}))},
		{name: "account that Zuora does not have", topic: "login", body: claim("2c92ffff"), want: "skipped/unknown_account"},
		{name: "webhook that is not JSON", topic: "stripe", body: []byte("{"), headers: []kafka.Header{signature([]byte("{"))}, want: "rejected/undecodable"},
		{name: "wrong signature", topic: "stripe", body: event("customer.subscription.updated"), headers: []kafka.Header{signature([]byte("other"))}, want: "rejected/bad_signature"},
		{name: "no signature", topic: "stripe", body: event("customer.subscription.updated"), want: "rejected/bad_signature"},
		{name: "webhook of 10 MB", topic: "stripe", body: bytes.Repeat([]byte("x"), 10<<20), want: "rejected/too_large"},
		{name: "type that asks for nothing", topic: "stripe", body: event("radar.early_fraud_warning.created"), want: "skipped/irrelevant_type",
			headers: []kafka.Header{signature(event("radar.early_fraud_warning.created"))}},
		{name: "subscription that Stripe does not have", topic: "stripe", body: event("customer.subscription.deleted"), want: "skipped/unknown_subscription",
			headers: []kafka.Header{signature(event("customer.subscription.deleted"))}},
	}
	topics := map[string]string{"login": r.cfg.Kafka.LoginTopic, "stripe": r.cfg.Kafka.StripeTopic}
	n, dead := 0, 0
	seen := map[string]int{}
	for _, c := range cases {
		r.produce(topics[c.topic], c.body, c.headers...)
		n += 1 + c.more
		got := r.outcomes(n)
		want := maps.Clone(seen)
		want[c.want]++
		if !maps.Equal(got, want) {
			t.Errorf("%s: outcomes %v, want %v", c.name, got, want)
		}
		if seen = got; strings.HasPrefix(c.want, "rejected/") {
			dead++
		}
	}
	r.eventually("dead letters loaded", func() bool {
		return r.query("SELECT uniqExact(source_topic, source_partition, source_offset) FROM {db}.dead_letters") == fmt.Sprint(dead)
	})

	// No usable token is stored anywhere (Invariant 8).
	signed := p.token(jose.RS256, nil, expired)
	tail := signed[strings.LastIndex(signed, "."):]
	for partition := range 3 {
		r.must(r.client.ReadAll(t.Context(), r.cfg.Kafka.Prefix+".dead", partition, 0, -1, func(_ context.Context, rec kafka.Record) error {
			var letter struct{ Original []byte }
			if err := json.Unmarshal(rec.Value, &letter); err != nil {
				return err
			}
			if bytes.Contains(letter.Original, []byte(tail)) || bytes.Contains(rec.Value, []byte(leaked)) {
				t.Error("a dead letter holds a signed token")
			}
			return nil
		}))
	}
	// The partitions go on.
	r.produce(r.cfg.Kafka.LoginTopic, claim(a.ID))
	if got := r.outcomes(n + 1); got["applied/created"] != 1 {
		t.Errorf("after all that: %v", got)
	}
}

// Upstream faults: what passes is tried again until it works, what does not is
// given up with everything a replay needs.
func TestUpstreamFaults(t *testing.T) {
	cases := map[string]struct {
		inject func(r *road)
		want   string
	}{
		"Zuora 500 once": {func(r *road) { r.zuora.Inject(httpsim.Fault{Code: "internal", Times: 1}) }, "applied/created"},
		"Zuora 429 with Retry-After": {func(r *road) {
			r.zuora.Inject(httpsim.Fault{Code: "rate_limit", Times: 1, Header: map[string]string{"Retry-After": "1"}})
		}, "applied/created"},
		"Zuora lock":             {func(r *road) { r.zuora.Inject(httpsim.Fault{Path: "/v1/subscriptions/", Code: "lock", Times: 2}) }, "applied/created"},
		"Zuora away for a while": {func(r *road) { r.zuora.Inject(httpsim.Fault{Drop: true, Times: 12}) }, "applied/created"},
		"Limio 502":              {func(r *road) { r.limio.Inject(httpsim.Fault{Code: "bad_gateway", Times: 2}) }, "applied/created"},
		"Limio loses the answer": {func(r *road) {
			r.limio.Inject(httpsim.Fault{Route: "POST /api/objects/{service}/{path_type}", DropAfter: true, Times: 1})
		}, "applied/created"},
		"Limio never stops with 502": {func(r *road) { r.limio.Inject(httpsim.Fault{Code: "bad_gateway"}) }, "failed/exhausted"},
		"Zuora forbids":              {func(r *road) { r.zuora.Inject(httpsim.Fault{Code: "forbidden"}) }, "failed/forbidden"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for vendors that are left alone
			r := newRoad(t)
			r.cfg.Retry.First, r.cfg.Retry.Second = 200*time.Millisecond, 300*time.Millisecond
			a := r.zuoraAccount("user-1", 2)
			r.start()
			c.inject(r)
			r.login(map[string]any{"zuora_accounts": a.ID})
			if got := r.outcomes(1); got[c.want] != 1 {
				t.Fatalf("outcomes %v, want %s\n%s", got, c.want, r.query("SELECT outcome, reason, attempts, error FROM {db}.syncs FORMAT TSV"))
			}
			if strings.HasPrefix(c.want, "failed/") {
				r.eventually("the dead letter", func() bool { return r.query("SELECT count() FROM {db}.dead_letters") != "0" })
				return
			}
			// Nothing was made twice, although answers were lost.
			types := map[string]int{}
			for _, typ := range []string{"subscription", "subscription_offer", "payment_method", "address", "customer"} {
				types[typ] = r.limio.Count(typ)
			}
			want := map[string]int{"subscription": 2, "subscription_offer": 2, "payment_method": 1, "customer": 1}
			for typ, n := range want {
				if types[typ] != n {
					t.Errorf("%d %s objects, want %d", types[typ], typ, n)
				}
			}
		})
	}
}

// A subscription that Limio knows and Stripe has deleted since is left as it is,
// and the row says why.
func TestSubscriptionDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	s, id := r.stripeSubscription()
	r.start()
	r.must(r.stripe.RenewNow(s.ID, true))
	n := r.webhooks()
	r.outcomes(n)
	before, _ := r.limio.Get(id)
	r.must(r.stripe.RenewNow(s.ID, true))
	r.stripe.Inject(httpsim.Fault{Route: "GET /v1/subscriptions/{id}", Code: "missing"})
	n += r.webhooks()
	if got := r.outcomes(n); got["skipped/unknown_subscription"] == 0 {
		t.Errorf("outcomes %v", got)
	}
	if note := r.query("SELECT any(note) FROM {db}.syncs WHERE reason = 'unknown_subscription' AND key = 'stripe:subscription:" + s.ID + "'"); !strings.Contains(note, "Stripe has no subscription") {
		t.Errorf("the row says %q", note)
	}
	if after, _ := r.limio.Get(id); after.Text("updated") != before.Text("updated") {
		t.Error("Limio's record was touched")
	}
}

// Stripe's own published fixtures, wrapped as signed webhooks, and tokens of
// both signature families, through a broker to rows.
func TestRealInput(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	p := newIDP(t)
	r.cfg.Login.Providers = append(r.cfg.Login.Providers, p.provider())
	a := r.zuoraAccount("user-1", 1)
	r.start()

	b, err := os.ReadFile("../connectors/stripe/testdata/stripe-fixtures-2023-10-16.json")
	r.must(err)
	var fixtures map[string]map[string]any
	r.must(json.Unmarshal(b, &fixtures))
	types := map[string]string{
		"subscription": "customer.subscription.updated", "invoice": "invoice.paid", "customer": "customer.updated",
		"payment_method": "payment_method.attached", "charge": "charge.succeeded", "subscription_schedule": "subscription_schedule.updated",
		"price": "price.updated", "product": "product.updated", "payment_intent": "payment_intent.succeeded",
	}
	n := 0
	for name, typ := range types {
		e := maps.Clone(fixtures["event"])
		e["id"], e["type"], e["data"] = fmt.Sprintf("evt_fixture_%d", n), typ, map[string]any{"object": fixtures[name]}
		body := bodyOf(e)
		r.produce(r.cfg.Kafka.StripeTopic, body, kafka.Header{Key: "Stripe-Signature", Value: []byte(r.stripe.Sign(body, time.Now()))})
		n++
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256} {
		r.produce(r.cfg.Kafka.LoginTopic, tokenLogin("signed", p.token(alg, nil, map[string]any{"zuora_accounts": a.ID})))
		n++
	}
	got := r.outcomes(n)
	if got["applied/created"]+got["in_sync/fingerprint"] != 2 || got["applied/created"] == 0 {
		t.Errorf("the two logins: %v", got)
	}
	if got["rejected/undecodable"]+got["rejected/bad_signature"] != 0 {
		t.Errorf("a published fixture was rejected: %v", got)
	}
	if got["skipped/unknown_subscription"] == 0 || got["skipped/irrelevant_type"] == 0 {
		t.Errorf("fixtures: %v", got)
	}
}
