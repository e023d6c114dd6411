package stripe

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76/webhook"

	"hotsync/event"
	"hotsync/internal/secret"
	"hotsync/record"
)

var (
	coords = event.Coordinates{Topic: "billing.stripe.events", Partition: 3, Offset: 41}
	signed = time.Date(2027, 1, 5, 10, 0, 0, 0, time.UTC)
)

const (
	oldSecret = "whsec_old"
	newSecret = "whsec_new"
)

// fixtures returns Stripe's published objects by kind; testdata has their
// licence.
func fixtures(t testing.TB) map[string]map[string]any {
	t.Helper()
	b, err := os.ReadFile("testdata/stripe-fixtures-2023-10-16.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// eventOf wraps an object as the event that Stripe would send.
func eventOf(t testing.TB, typ string, object map[string]any, more map[string]any) []byte {
	t.Helper()
	data := map[string]any{"object": object}
	e := map[string]any{
		"id": "evt_1", "object": "event", "api_version": "2023-10-16", "created": signed.Unix(),
		"type": typ, "data": data, "livemode": false, "pending_webhooks": 1,
		"request": map[string]any{"id": nil, "idempotency_key": nil},
	}
	for k, v := range more {
		if k == "previous_attributes" {
			data[k] = v
			continue
		}
		e[k] = v
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sign(body []byte, secrets ...string) string {
	var header string
	for i, s := range secrets {
		h := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: s, Timestamp: signed}).Header
		if i == 0 {
			header = h
			continue
		}
		_, v1, _ := strings.Cut(h, ",")
		header += "," + v1
	}
	return header
}

func message(body []byte, headers map[string]string) event.Message {
	return event.Message{Coordinates: coords, Value: body, Headers: headers, Time: signed.Add(time.Second)}
}

func decoder(t testing.TB, cfg DecoderConfig) *Decoder {
	t.Helper()
	cfg.Now = func() time.Time { return signed.Add(time.Minute) }
	d, err := NewDecoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func withSecrets(secrets ...string) DecoderConfig {
	var cfg DecoderConfig
	for _, s := range secrets {
		cfg.Secrets = append(cfg.Secrets, secret.New(s))
	}
	return cfg
}

// Every type that can change what Limio shows, with Stripe's own fixtures,
// signed, points at the right thing.
func TestDecodeFixturesOfEveryType(t *testing.T) {
	all := fixtures(t)
	sub, cus := all["subscription"]["id"].(string), all["customer"]["id"].(string)
	with := func(kind string, fields map[string]any) map[string]any {
		out := map[string]any{}
		maps.Copy(out, all[kind])
		maps.Copy(out, fields)
		return out
	}
	subscription, customer := record.StripeSubscription(sub), record.StripeCustomer(cus)
	detached := map[string]any{"previous_attributes": map[string]any{"customer": cus}}
	tests := []struct {
		types  string // separated by spaces
		object map[string]any
		more   map[string]any
		want   record.Key // zero: irrelevant
	}{
		{"customer.subscription.created customer.subscription.updated customer.subscription.deleted customer.subscription.paused customer.subscription.resumed customer.subscription.pending_update_applied customer.subscription.pending_update_expired customer.subscription.trial_will_end",
			with("subscription", nil), nil, subscription},
		{"invoice.paid invoice.payment_succeeded invoice.payment_failed invoice.payment_action_required invoice.finalization_failed invoice.created invoice.finalized invoice.updated invoice.voided invoice.marked_uncollectible",
			with("invoice", map[string]any{"subscription": sub}), nil, subscription},
		{"invoice.paid", with("invoice", map[string]any{"subscription": with("subscription", nil)}), nil, subscription},
		{"invoice.paid", with("invoice", map[string]any{"subscription": nil,
			"parent": map[string]any{"type": "subscription_details", "subscription_details": map[string]any{"subscription": sub}}}), nil, subscription},
		{"invoice.upcoming", with("invoice", map[string]any{"id": nil, "subscription": sub}), nil, subscription},
		{"invoice.paid invoice.created", with("invoice", map[string]any{"subscription": nil}), nil, record.Key{}},
		{"customer.updated customer.deleted customer.created", with("customer", nil), nil, customer},
		{"payment_method.attached payment_method.updated payment_method.automatically_updated",
			with("payment_method", map[string]any{"customer": cus}), nil, customer},
		{"payment_method.detached", with("payment_method", map[string]any{"customer": nil}), detached, customer},
		{"payment_method.attached", with("payment_method", map[string]any{"customer": nil}), nil, record.Key{}},
		{"customer.source.updated customer.source.expiring", map[string]any{"id": "card_1", "object": "card", "customer": cus}, nil, customer},
		{"customer.source.updated", map[string]any{"id": "src_1", "object": "source"}, nil, record.Key{}},
		{"customer.discount.created", map[string]any{"id": "di_1", "customer": cus, "subscription": sub}, nil, subscription},
		{"customer.discount.created", map[string]any{"id": "di_1", "customer": cus, "subscription": nil}, nil, customer},
		{"subscription_schedule.created subscription_schedule.updated subscription_schedule.canceled subscription_schedule.aborted subscription_schedule.completed subscription_schedule.expiring",
			with("subscription_schedule", map[string]any{"subscription": sub}), nil, subscription},
		{"subscription_schedule.released", with("subscription_schedule", map[string]any{"subscription": nil, "released_subscription": sub}), nil, subscription},
		{"subscription_schedule.created", with("subscription_schedule", map[string]any{"subscription": nil, "released_subscription": nil}), nil, record.Key{}},
		{"charge.refunded charge.failed", with("charge", nil), nil, record.Key{}},
		{"payment_intent.succeeded", with("payment_intent", nil), nil, record.Key{}},
		{"product.updated", with("product", nil), nil, record.Key{}},
		{"something.of.next.year", map[string]any{"id": "x_1"}, nil, record.Key{}},
	}
	d := decoder(t, withSecrets(newSecret))
	for _, tt := range tests {
		for typ := range strings.SplitSeq(tt.types, " ") {
			body := eventOf(t, typ, tt.object, tt.more)
			got, err := d.Decode(t.Context(), message(body, map[string]string{"stripe-signature": sign(body, newSecret)}))
			if err != nil {
				t.Errorf("%s: %v", typ, err)
				continue
			}
			if tt.want.IsZero() {
				if got.Reason != event.ReasonIrrelevantType || got.Note == "" || got.Type != typ || got.Delivery != "evt_1" || !got.At.Equal(signed) || len(got.Triggers) > 0 {
					t.Errorf("%s: got %+v, want irrelevant_type with a note", typ, got)
				}
				continue
			}
			want := event.Reading{Triggers: []event.Trigger{{
				ID: event.TriggerID(coords, 0), Key: tt.want, Cause: event.CauseStripe, Origin: event.OriginStripe,
				Type: typ, Delivery: "evt_1", Source: coords, At: signed, Received: signed.Add(time.Second),
			}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", typ, diff)
			}
		}
	}
}

func TestDecodeSignature(t *testing.T) {
	body := eventOf(t, "customer.updated", map[string]any{"id": "cus_1"}, nil)
	changed := strings.Replace(string(body), "cus_1", "cus_2", 1)
	late := func(cfg DecoderConfig) DecoderConfig { cfg.Tolerance = 5 * time.Minute; return cfg }
	ifPresent := withSecrets(newSecret)
	ifPresent.Policy = SignatureIfPresent
	off := withSecrets(newSecret)
	off.Policy = SignatureOff
	tests := []struct {
		name   string
		cfg    DecoderConfig
		body   string
		header string
		age    time.Duration // between signing and Kafka
		want   string        // part of the error; "" for none
	}{
		{"right secret", withSecrets(newSecret), string(body), sign(body, newSecret), 0, ""},
		{"right secret, a space in the list", withSecrets(newSecret), string(body), strings.Replace(sign(body, newSecret), ",", ", ", 1), 0, ""},
		{"old secret while rolled", withSecrets(newSecret, oldSecret), string(body), sign(body, oldSecret), 0, ""},
		{"both sign, we know the new one", withSecrets(newSecret), string(body), sign(body, oldSecret, newSecret), 0, ""},
		{"unknown scheme beside v1", withSecrets(newSecret), string(body), sign(body, newSecret) + ",v0=00", 0, ""},
		{"other secret", withSecrets(newSecret), string(body), sign(body, oldSecret), 0, "no v1 signature"},
		{"changed body", withSecrets(newSecret), changed, sign(body, newSecret), 0, "no v1 signature"},
		{"only v0", withSecrets(newSecret), string(body), strings.Replace(sign(body, newSecret), "v1=", "v0=", 1), 0, "no v1 signature"},
		{"no header", withSecrets(newSecret), string(body), "", 0, "no header Stripe-Signature"},
		{"nonsense header", withSecrets(newSecret), string(body), "hello", 0, "not of the form"},
		{"days in Kafka, age not enforced", withSecrets(newSecret), string(body), sign(body, newSecret), 72 * time.Hour, ""},
		{"too old when taken in", late(withSecrets(newSecret)), string(body), sign(body, newSecret), 6 * time.Minute, "at most 5m0s"},
		{"from the future", late(withSecrets(newSecret)), string(body), sign(body, newSecret), -6 * time.Minute, "at most 5m0s"},
		{"young enough", late(withSecrets(newSecret)), string(body), sign(body, newSecret), 4 * time.Minute, ""},
		{"if_present without", ifPresent, string(body), "", 0, ""},
		{"if_present with a wrong one", ifPresent, string(body), sign(body, oldSecret), 0, "no v1 signature"},
		{"off with a wrong one", off, string(body), sign(body, oldSecret), 0, ""},
		{"no secret", DecoderConfig{}, string(body), "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message([]byte(tt.body), map[string]string{"STRIPE-SIGNATURE": tt.header})
			m.Time = signed.Add(tt.age)
			got, err := decoder(t, tt.cfg).Decode(t.Context(), m)
			if tt.want == "" {
				if err != nil || len(got.Triggers) != 1 {
					t.Fatalf("got %+v, %v, want one trigger", got, err)
				}
				return
			}
			var bad *event.BadInput
			if !errors.As(err, &bad) || bad.Reason != event.ReasonBadSignature || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want bad_signature with %q", err, tt.want)
			}
			if bad.Delivery != "evt_1" || bad.Type != "customer.updated" {
				t.Errorf("delivery %q of type %q, want evt_1 of customer.updated", bad.Delivery, bad.Type)
			}
		})
	}
}

func TestDecodeEnvelope(t *testing.T) {
	body := eventOf(t, "customer.updated", map[string]any{"id": "cus_1"}, nil)
	sig := sign(body, newSecret)
	wrap := func(v map[string]any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name    string
		value   []byte
		headers map[string]string
		origin  event.Origin
		want    event.Reason // of the error
	}{
		{"signature in the wrapper", wrap(map[string]any{"body": string(body), "headers": map[string]any{"stripe-signature": sig}, "source": "Shop"}), nil, event.OriginShop, ""},
		{"signature in a list", wrap(map[string]any{"body": string(body), "headers": map[string]any{"Stripe-Signature": []string{sig}}}), nil, event.OriginStripe, ""},
		{"signature in Kafka", wrap(map[string]any{"body": string(body)}), map[string]string{"Stripe-Signature": sig}, event.OriginStripe, ""},
		{"base64", wrap(map[string]any{"body": base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true}), map[string]string{"Stripe-Signature": sig}, event.OriginStripe, ""},
		{"not base64", wrap(map[string]any{"body": "{}", "isBase64Encoded": true}), map[string]string{"Stripe-Signature": sig}, "", event.ReasonUndecodable},
		{"body as an object, bytes kept", []byte(`{"body":` + string(body) + `,"source":7}`), map[string]string{"Stripe-Signature": sig}, event.OriginStripe, ""},
		{"body as an object, bytes changed", []byte(`{"body": ` + strings.Replace(string(body), ":", ": ", 1) + `}`), map[string]string{"Stripe-Signature": sig}, "", event.ReasonBadSignature},
		{"header beats field", wrap(map[string]any{"body": string(body), "source": "shop"}), map[string]string{"Stripe-Signature": sig, "Source": "salesforce"}, event.OriginSalesforce, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decoder(t, withSecrets(newSecret)).Decode(t.Context(), message(tt.value, tt.headers))
			if tt.want != "" {
				var bad *event.BadInput
				if !errors.As(err, &bad) || bad.Reason != tt.want {
					t.Fatalf("got error %v, want %s", err, tt.want)
				}
				return
			}
			if err != nil || len(got.Triggers) != 1 {
				t.Fatalf("got %+v, %v, want one trigger", got, err)
			}
			if got.Triggers[0].Origin != tt.origin {
				t.Errorf("origin %q, want %q", got.Triggers[0].Origin, tt.origin)
			}
		})
	}
}

func TestDecodeOrigin(t *testing.T) {
	request := func(id any) map[string]any { return map[string]any{"request": map[string]any{"id": id}} }
	marked := map[string]any{"id": "sub_1", "metadata": map[string]any{"source": "salesforce"}}
	tests := []struct {
		name   string
		typ    string
		object map[string]any
		more   map[string]any
		header string
		want   event.Origin
	}{
		{"no request: Stripe itself", "customer.subscription.updated", marked, request(nil), "", event.OriginStripe},
		{"request is null", "customer.subscription.updated", marked, map[string]any{"request": nil}, "", event.OriginStripe},
		{"request with metadata", "customer.subscription.updated", marked, request("req_1"), "", event.OriginSalesforce},
		{"old form of request", "customer.subscription.updated", marked, map[string]any{"request": "req_1"}, "", event.OriginSalesforce},
		{"request without metadata", "customer.subscription.updated", map[string]any{"id": "sub_1"}, request("req_1"), "", ""},
		{"first key wins", "customer.subscription.updated", map[string]any{"id": "sub_1", "metadata": map[string]any{"source": "x", "limio_source": "Shop"}}, request("req_1"), "", event.OriginShop},
		{"header wins", "customer.subscription.updated", marked, request("req_1"), " Shop ", event.OriginShop},
		{"header wins over no request", "customer.subscription.updated", marked, request(nil), "shop", event.OriginShop},
		{"odd header is no origin", "customer.subscription.updated", marked, request("req_1"), "sh\x00op", event.OriginSalesforce},
		{"invoice: the subscription's metadata", "invoice.paid", map[string]any{"id": "in_1", "subscription": "sub_1",
			"subscription_details": map[string]any{"metadata": map[string]any{"source": "shop"}}}, request("req_1"), "", event.OriginShop},
		{"basil invoice", "invoice.paid", map[string]any{"id": "in_1", "parent": map[string]any{"subscription_details": map[string]any{
			"subscription": "sub_1", "metadata": map[string]any{"source": "shop"}}}}, request("req_1"), "", event.OriginShop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message(eventOf(t, tt.typ, tt.object, tt.more), map[string]string{"source": tt.header})
			got, err := decoder(t, DecoderConfig{}).Decode(t.Context(), m)
			if err != nil || len(got.Triggers) != 1 {
				t.Fatalf("got %+v, %v, want one trigger", got, err)
			}
			if got.Triggers[0].Origin != tt.want {
				t.Errorf("origin %q, want %q", got.Triggers[0].Origin, tt.want)
			}
		})
	}
}

func TestDecodeBadInput(t *testing.T) {
	tests := []struct {
		name, value string
		reason      event.Reason
		text        string
	}{
		{"empty", "", event.ReasonUndecodable, "not a Stripe event"},
		{"no JSON", "hello", event.ReasonUndecodable, "not a Stripe event"},
		{"a list", "[]", event.ReasonUndecodable, "not a Stripe event"},
		{"null", "null", event.ReasonUndecodable, "not a Stripe event"},
		{"another object", `{"id":"sub_1","object":"subscription"}`, event.ReasonUndecodable, `of type "subscription"`},
		{"no type", `{"id":"evt_1","object":"event"}`, event.ReasonUndecodable, "the type of evt_1"},
		{"thin event", `{"id":"evt_1","type":"v1.billing.meter","object":"v2.core.event"}`, event.ReasonUndecodable, "v2.core.event"},
		{"no object", `{"id":"evt_1","type":"customer.updated","created":1}`, event.ReasonUndecodable, "no data.object"},
		{"no time", `{"id":"evt_1","type":"customer.updated","data":{"object":{"id":"cus_1"}}}`, event.ReasonUndecodable, "created is 0"},
		{"no id", `{"id":"evt_1","type":"customer.subscription.updated","created":1,"data":{"object":{}}}`, event.ReasonUndecodable, "data.object.id is missing"},
		{"id that is a path", `{"id":"evt_1","type":"customer.subscription.updated","created":1,"data":{"object":{"id":"../customers/cus_1"}}}`, event.ReasonUndecodable, "not a Stripe id"},
		{"customer that is a path", `{"id":"evt_1","type":"customer.updated","created":1,"data":{"object":{"id":"a b"}}}`, event.ReasonUndecodable, "not a Stripe id"},
		{"too large", strings.Repeat(" ", 3000), event.ReasonTooLarge, "3000 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decoder(t, DecoderConfig{MaxBytes: 2000}).Decode(t.Context(), message([]byte(tt.value), nil))
			var bad *event.BadInput
			if !errors.As(err, &bad) || bad.Reason != tt.reason || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got error %v, want %s with %q", err, tt.reason, tt.text)
			}
		})
	}
}

func TestDecodeRedactsClientSecrets(t *testing.T) {
	body := eventOf(t, "payment_intent.created", map[string]any{"id": "pi_1", "client_secret": "pi_1_secret_abc"}, nil)
	wrapped, err := json.Marshal(map[string]string{"body": string(body)})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range [][]byte{body, wrapped} {
		_, err := decoder(t, withSecrets(newSecret)).Decode(t.Context(), message(value, nil))
		var bad *event.BadInput
		if !errors.As(err, &bad) || strings.Contains(string(bad.Redacted), "secret_abc") || !json.Valid(bad.Redacted) {
			t.Fatalf("got %v with %s, want valid JSON without the secret", err, bad.Redacted)
		}
	}
}

func TestDecodeIgnoresTypes(t *testing.T) {
	d := decoder(t, DecoderConfig{IgnoreTypes: []string{"customer.updated", "invoice.*"}})
	for typ, ignored := range map[string]bool{"customer.updated": true, "invoice.paid": true, "customer.deleted": false} {
		got, err := d.Decode(t.Context(), message(eventOf(t, typ, map[string]any{"id": "cus_1", "subscription": "sub_1"}, nil), nil))
		if err != nil || (got.Reason == event.ReasonIrrelevantType) != ignored {
			t.Errorf("%s: got %+v, %v, want ignored %t", typ, got, err, ignored)
		}
	}
}

func TestDecodeReceivedWithoutKafkaTime(t *testing.T) {
	m := message(eventOf(t, "customer.updated", map[string]any{"id": "cus_1"}, nil), nil)
	m.Time = time.Time{}
	got, err := decoder(t, DecoderConfig{}).Decode(t.Context(), m)
	if err != nil || !got.Triggers[0].Received.Equal(signed.Add(time.Minute)) {
		t.Fatalf("got %+v, %v, want the clock's time", got, err)
	}
}

func TestNewDecoderRefuses(t *testing.T) {
	for text, cfg := range map[string]DecoderConfig{
		"at least one signing secret": {Policy: SignatureRequired},
		"must be required":            {Policy: "maybe"},
		"must not be negative":        {Tolerance: -1},
		"ignored type":                {IgnoreTypes: []string{"*.updated"}},
	} {
		if _, err := NewDecoder(cfg); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got error %v, want %q", err, text)
		}
	}
}

// Whatever comes in, the result is triggers, or a reason, or bad input.
func FuzzDecode(f *testing.F) {
	for kind, o := range fixtures(f) {
		body := eventOf(f, "customer.subscription.updated", o, nil)
		f.Add(body, "t="+strconv.FormatInt(signed.Unix(), 10)+",v1=00", kind)
	}
	f.Add([]byte(`{"body":"{}","headers":{"a":["b"]},"isBase64Encoded":true}`), "t=1,v1=zz,t=9223372036854775807", "shop")
	f.Add([]byte(`{"id":"evt_1","type":".","created":1,"data":{"object":{"id":{"id":[]}}}}`), "", "")
	plain := decoder(f, DecoderConfig{})
	strict := withSecrets(newSecret)
	strict.Tolerance = time.Minute
	checked := decoder(f, strict)
	f.Fuzz(func(t *testing.T, value []byte, signature, source string) {
		// Once as it comes, once as it stands with a good signature.
		for d, sig := range map[*Decoder]string{plain: signature, checked: sign(value, newSecret)} {
			got, err := d.Decode(t.Context(), message(value, map[string]string{"Stripe-Signature": sig, "source": source}))
			var bad *event.BadInput
			switch isBad := errors.As(err, &bad); {
			case err != nil && (!isBad || bad.Reason == "" || len(got.Triggers) > 0 || got.Reason != ""):
				t.Fatalf("got %+v, %v, want bad input alone", got, err)
			case err == nil && (len(got.Triggers) > 0) == (got.Reason != ""):
				t.Fatalf("got %+v, want triggers or a reason", got)
			}
			for _, tr := range got.Triggers {
				b, err := tr.Encode()
				if err != nil {
					t.Fatalf("encode %+v: %v", tr, err)
				}
				if _, err := event.DecodeTrigger(b); err != nil {
					t.Fatalf("trigger cannot be read back: %v", err)
				}
			}
		}
	})
}
