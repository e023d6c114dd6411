package main

import (
	"fmt"
	"math"
	"net/http"
	"strings"

	"hotsync/daemon/sweep"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// calls are calls to the vendors, those for tokens left out. Limio's are told
// apart: a repair has to write, and what it reads is what a sweep costs.
type calls struct {
	Zuora  int `json:"zuora"`
	Stripe int `json:"stripe"`
	Limio  int `json:"limio_reads"`
	Writes int `json:"limio_writes"`
}

func (c calls) plus(d calls) calls {
	return calls{c.Zuora + d.Zuora, c.Stripe + d.Stripe, c.Limio + d.Limio, c.Writes + d.Writes}
}

func (c calls) minus(d calls) calls { return c.plus(d.times(-1)) }

func (c calls) times(n int) calls {
	return calls{c.Zuora * n, c.Stripe * n, c.Limio * n, c.Writes * n}
}

func (c calls) sum() int { return c.Zuora + c.Stripe + c.Limio + c.Writes }

// billing are the calls to the systems that sweeps read from.
func (c calls) billing() int { return c.Zuora + c.Stripe }

// off is how far c is from what a formula says, in percent: that of the part that
// is furthest off, so that no part makes up for another. A part that should have
// had no call counts as all of it.
func (c calls) off(formula calls) (percent float64) {
	for _, part := range [][2]int{{c.Zuora, formula.Zuora}, {c.Stripe, formula.Stripe}, {c.Limio, formula.Limio}, {c.Writes, formula.Writes}} {
		if off := 100 * float64(part[0]-part[1]) / float64(max(1, part[1])); math.Abs(off) > math.Abs(percent) {
			percent = off
		}
	}
	return percent
}

// Sizes of the pages that sweeps ask for: Stripe's and Limio's most, and what
// Zuora gives with expansions (zuora-stripe.md S3, Z3; limio.md 3.1).
const (
	stripePage = 100
	zuoraPage  = 99
	limioPage  = 100
)

func pages(n, page int) int { return max(1, (n+page-1)/page) }

// lists are the calls of a sweep that finds nothing.
func (c *company) lists(name string) calls {
	subscriptions := pages(c.limio.Count(limio.TypeSubscription), limioPage)
	if name == sweep.StripeDrift {
		return calls{Stripe: pages(len(c.subs), stripePage), Limio: subscriptions}
	}
	return calls{Zuora: pages(len(c.accounts), zuoraPage), Limio: pages(c.limio.Count(limio.TypeCustomer), limioPage) + subscriptions}
}

// What looking at a record costs, writes aside.

// lookStripe: the subscription, its invoices and the next one.
func lookStripe() calls { return calls{Stripe: 3} }

// lookEnded is the same of a subscription after which nothing comes.
func lookEnded() calls { return calls{Stripe: 2} }

// lookZuora: the account and its subscriptions.
func lookZuora() calls { return calls{Zuora: 2} }

// lookOrders: who ordered the change of a subscription.
func lookOrders() calls { return calls{Zuora: 1} }

// lookRecord: Limio's record of a subscription and what is related to it.
func lookRecord() calls { return calls{Limio: 2} }

// findCustomer: Limio's customer of an account that was never looked at.
func findCustomer() calls { return calls{Limio: 1} }

// lookCustomer: Limio's customer, what is related to it, and what is related to
// its only subscription.
func lookCustomer() calls { return calls{Limio: 3} }

// drift is a way in which one record of both sides stops being the other.
type drift struct {
	name string
	make func(c *company, i int) error
	// look are the calls for one record: the reads of the billing system, and
	// those of Limio, which is read once more after writes. Beside them there is
	// a call for each object that is written.
	look calls
}

func stripeDrifts() []drift {
	repair := lookStripe().plus(lookRecord().times(2))
	return []drift{
		{"renewed in Stripe", func(c *company, i int) error { return c.stripe.RenewNow(c.subs[i].id, true) }, repair},
		{"edited in Limio: status", func(c *company, i int) error { return c.edit(c.subs[i].limio, "status", "cancelled") }, repair},
		{"cancelled in Stripe", func(c *company, i int) error { return c.stripe.CancelNow(c.subs[i].id, stripe.ByStripe()) }, lookEnded().plus(lookRecord().times(2))},
		{"new card in Stripe", func(c *company, i int) error {
			_, err := c.stripe.AddPaymentMethod(stripe.PaymentMethodParams{
				Customer: c.subs[i].customer, Default: true, Card: stripe.Card{Brand: "mastercard", Last4: "5454", ExpMonth: 4, ExpYear: 2033},
			})
			return err
		}, repair},
		{"edited in Limio: end of term", func(c *company, i int) error { return c.edit(c.subs[i].limio, "data.termEndDate", "2020-01-01") }, repair},
		// Nothing of it is in Limio: it is looked at, and Limio is not even read.
		{"metadata in Stripe", func(c *company, i int) error {
			return c.stripe.SetMetadata(c.subs[i].id, map[string]string{"campaign": "spring"}, stripe.ByRequest(""))
		}, lookStripe()},
	}
}

func zuoraDrifts() []drift {
	repair := lookZuora().plus(lookCustomer().times(2))
	return []drift{
		{"cancelled in Zuora", func(c *company, i int) error {
			_, err := c.zuora.CancelSubscription(c.accounts[i].number, zuora.DateOf(c.clock.Now()), zuora.Order{})
			return err
		}, repair.plus(lookOrders())},
		{"moved in Zuora", func(c *company, i int) error {
			return c.zuora.UpdateAccount(c.accounts[i].id, func(a *zuora.Account) { a.BillTo.Address1 = fmt.Sprintf("%d New Lane", i) })
		}, repair},
		{"edited in Limio: name", func(c *company, i int) error { return c.edit(c.accounts[i].customer, "data.name", "Typing Error") }, repair},
		{"new card in Zuora", func(c *company, i int) error {
			m, err := c.zuora.AddPaymentMethod(c.accounts[i].id, zuoraCard(i+1))
			if err != nil {
				return err
			}
			return c.zuora.SetDefaultPaymentMethod(c.accounts[i].id, m.ID)
		}, repair},
		{"edited in Limio: status", func(c *company, i int) error { return c.edit(c.accounts[i].limio, "status", "cancelled") }, repair.plus(lookOrders())},
		{"new price in Zuora", func(c *company, i int) error {
			_, err := c.zuora.ChangeSubscription(c.accounts[i].number, zuora.Order{}, func(s *zuora.Subscription) { s.RatePlans[0].Charges[0].Price += 500 })
			return err
		}, repair.plus(lookOrders())},
	}
}

// edit has somebody change a field of a Limio object by hand.
func (c *company) edit(id, path string, value any) error {
	return c.limio.UpdateAs(limio.ByStaff, id, func(object map[string]any) {
		if in, ok := object["data"].(map[string]any); ok && len(path) > 5 && path[:5] == "data." {
			object, path = in, path[5:]
		}
		object[path] = value
	})
}

// drifted is what was made to drift on one side.
type drifted struct {
	records int
	wrong   int   // objects of Limio to be written
	cost    calls // of putting it right, without the lists
}

// makeDrift has a share of the records that a sweep reads drift, evenly spread
// and in every way in turn.
func (c *company) makeDrift(name string, share float64) (drifted, error) {
	drifts, all := zuoraDrifts(), len(c.accounts)
	wrong := func(i int) int { return len(c.wrongAccount(c.accounts[i])) }
	if name == sweep.StripeDrift {
		drifts, all = stripeDrifts(), len(c.subs)
		wrong = func(i int) int { return len(c.wrongSubscription(c.subs[i])) }
	}
	out := drifted{records: int(share * float64(all))}
	for k := range out.records {
		d, i := drifts[k%len(drifts)], (2*k+1)*all/(2*out.records)
		if err := d.make(c, i); err != nil {
			return out, fmt.Errorf("make record %d drift (%s): %w", i, d.name, err)
		}
		w := wrong(i)
		if w == 0 && d.look != lookStripe() {
			return out, fmt.Errorf("record %d (%s) does not differ", i, d.name)
		}
		out.wrong += w
		out.cost = out.cost.plus(d.look).plus(calls{Writes: w})
	}
	return out, nil
}

// wrong names what is wrong in the whole of Limio, with the number of records
// concerned.
func (c *company) wrong() (records int, first []string) {
	note := func(found []string) {
		if len(found) == 0 {
			return
		}
		records++
		if len(first) < 10 {
			first = append(first, found...)
		}
	}
	for _, s := range c.subs {
		note(c.wrongSubscription(s))
	}
	for _, a := range c.accounts {
		note(c.wrongAccount(a))
	}
	return records, first
}

// calls are the calls since resetCalls.
func (c *company) calls() (made calls) {
	count := func(routes map[string]int, into func(method string) *int) {
		for route, n := range routes {
			if !strings.HasSuffix(route, "/token") {
				*into(route[:strings.Index(route+" ", " ")]) += n
			}
		}
	}
	count(c.zuora.Calls(), func(string) *int { return &made.Zuora })
	count(c.stripe.Calls(), func(string) *int { return &made.Stripe })
	count(c.limio.Calls(), func(method string) *int {
		if method == http.MethodGet {
			return &made.Limio
		}
		return &made.Writes
	})
	return made
}

func (c *company) resetCalls() {
	c.zuora.ResetCalls()
	c.stripe.ResetCalls()
	c.limio.ResetCalls()
}
