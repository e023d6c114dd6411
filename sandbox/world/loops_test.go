package world

import (
	"slices"
	"testing"
	"time"

	"hotsync/sandbox/limio"
)

// api writes as a program under test would.
func (c cast) api(t *testing.T, id string, f fields) {
	t.Helper()
	if err := c.w.limio.UpdateAs(limio.ByAPI, id, func(json map[string]any) { fill(json, f) }); err != nil {
		t.Fatal(err)
	}
}

func (c cast) create(t *testing.T, f fields) string {
	t.Helper()
	json := map[string]any{"related": c.sub}
	fill(json, f)
	o, err := c.w.limio.Insert(limio.ByAPI, limio.Object{RecordType: limio.TypeSchedule, JSON: json})
	if err != nil {
		t.Fatal(err)
	}
	return o.ID
}

func TestLoops(t *testing.T) {
	entry := fields{"status": "active", "data.date": "2027-03-01", "data.amount": "42.00"}
	tests := map[string]struct {
		do   func(t *testing.T, c cast)
		want []string // rules
	}{
		"an honest repair": {func(t *testing.T, c cast) {
			c.api(t, c.sub, fields{"status": "cancelled"})
			c.create(t, entry)
		}, nil},
		"a write that changes nothing": {func(t *testing.T, c cast) { c.api(t, c.sub, fields{}) }, []string{"noop"}},
		"somebody else's does not count": {func(t *testing.T, c cast) {
			_ = c.w.limio.UpdateAs(limio.ByStaff, c.sub, func(map[string]any) {})
		}, nil},
		"there and back": {func(t *testing.T, c cast) {
			c.api(t, c.sub, fields{"status": "cancelled"})
			c.api(t, c.sub, fields{"status": "active"})
		}, []string{"flapping"}},
		"undone by staff, and written again": {func(t *testing.T, c cast) {
			c.api(t, c.sub, fields{"status": "cancelled"})
			_ = c.w.limio.UpdateAs(limio.ByStaff, c.sub, func(json map[string]any) { json["status"] = "active" })
			c.api(t, c.sub, fields{"status": "cancelled"})
		}, nil},
		"and once more": {func(t *testing.T, c cast) {
			for range 3 {
				c.api(t, c.sub, fields{"status": "cancelled"})
				_ = c.w.limio.UpdateAs(limio.ByStaff, c.sub, func(json map[string]any) { json["status"] = "active" })
			}
		}, []string{"flapping"}},
		"forward only": {func(t *testing.T, c cast) {
			for _, end := range []string{"2028-01-01", "2029-01-01", "2030-01-01"} {
				c.api(t, c.sub, fields{"data.termEndDate": end})
			}
		}, nil},
		"the brand of the next card but one": {func(t *testing.T, c cast) {
			for _, card := range [][2]string{{"visa", "1"}, {"amex", "2"}, {"visa", "3"}} {
				c.api(t, c.sub, fields{"data.stripe.result.brand": card[0], "data.stripe.result.id": card[1]})
			}
		}, nil},
		"the same card, back again": {func(t *testing.T, c cast) {
			for _, card := range [][2]string{{"visa", "1"}, {"amex", "2"}, {"visa", "1"}} {
				c.api(t, c.sub, fields{"data.stripe.result.brand": card[0], "data.stripe.result.id": card[1]})
			}
		}, []string{"flapping"}},
		"the same create twice": {func(t *testing.T, c cast) { c.create(t, entry); c.create(t, entry) }, []string{"twice"}},
		"after the first was cancelled": {func(t *testing.T, c cast) {
			c.api(t, c.create(t, entry), fields{"status": "cancelled"})
			c.create(t, entry)
		}, nil},
		"another day": {func(t *testing.T, c cast) {
			c.create(t, entry)
			c.create(t, fields{"status": "active", "data.date": "2027-04-01", "data.amount": "42.00"})
		}, nil},
		"an echo on the record": {func(t *testing.T, c cast) {
			c.begins(t)
			c.api(t, c.sub, fields{"status": "cancelled"})
		}, []string{"echo"}},
		"an echo below it": {func(t *testing.T, c cast) {
			c.begins(t)
			c.create(t, entry)
		}, []string{"echo"}},
		"before the order": {func(t *testing.T, c cast) {
			c.api(t, c.sub, fields{"status": "cancelled"})
			c.w.clock.Advance(time.Second)
			c.begins(t)
		}, nil},
		"after Limio stored it": {func(t *testing.T, c cast) {
			order := c.begins(t)
			c.w.clock.Advance(500 * time.Millisecond)
			c.w.windows[order.at].until = c.w.clock.Now()
			c.api(t, c.sub, fields{"status": "cancelled"})
		}, nil},
		"after the settling time": {func(t *testing.T, c cast) {
			c.begins(t)
			c.w.clock.Advance(c.w.cfg.Settle + time.Second)
			c.api(t, c.sub, fields{"status": "cancelled"})
		}, nil},
		"on another record": {func(t *testing.T, c cast) {
			c.begins(t)
			c.api(t, c.stripe.Limio, fields{"status": "cancelled"})
		}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := equalOnes(t)
			tt.do(t, c)
			var got []string
			for _, l := range c.w.Loops() {
				got = append(got, l.Rule)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v: %v", got, tt.want, c.w.Loops())
			}
		})
	}
}

// begins has the shop place an order.
func (c cast) begins(t *testing.T) *busy {
	t.Helper()
	b, err := c.w.begin(c.sub, "shop", "change_offer")
	if err != nil {
		t.Fatal(err)
	}
	return b
}
