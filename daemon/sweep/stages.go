package sweep

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hotsync/record"
)

// Why a sweep hands on a key, where nobody else says.
const (
	WhyDeep     = "deep"     // every record is looked at
	WhyEvent    = "event"    // something happened that nobody has looked at since
	WhyReviewed = "reviewed" // a person had its plan applied
)

// kind is what a sweep reads.
type kind struct {
	stages []stage
	since  func(mark, now time.Time) (since time.Time, note string) // nil: it reads everything
}

// stage is one list of a sweep, read page by page.
type stage struct {
	name string
	read func(ctx context.Context, run Run, cursor string) (batch, error)
}

// batch is a page that was judged.
type batch struct {
	findings []finding
	listed   int
	next     string
}

// finding is a key that must be looked at.
type finding struct {
	key    record.Key
	why    string
	verify bool
	base   string
	limio  string
}

// kinds are the sweeps whose lists are there.
func (c Config) kinds() map[string]kind {
	out := map[string]kind{}
	l := c.Lists
	limio := func(t record.Type, system string) stage {
		return stage{"limio " + string(t) + " list", c.limioStage(t, system)}
	}
	if l.ZuoraChanged != nil && l.ZuoraGlimpses != nil && len(l.ZuoraKinds) > 0 {
		k := kind{since: changedSince}
		for _, of := range l.ZuoraKinds {
			k.stages = append(k.stages, stage{"zuora changes of " + of, c.changedStage(of)})
		}
		out[ZuoraChanged] = k
	}
	if l.ZuoraAccounts != nil {
		out[ZuoraFull] = kind{stages: []stage{
			{"zuora account list", c.listStage(l.ZuoraAccounts)}, limio(record.Customer, "zuora"), limio(record.SubscriptionType, "zuora"),
		}}
	}
	if l.StripeEvents != nil {
		out[StripeEvents] = kind{since: eventsSince, stages: []stage{{"stripe event list", c.eventStage}}}
	}
	if l.StripeSubscriptions != nil {
		out[StripeDrift] = kind{stages: []stage{
			{"stripe subscription list", c.listStage(l.StripeSubscriptions)}, limio(record.SubscriptionType, "stripe"),
		}}
	}
	out[LimioOrphans] = kind{stages: []stage{limio(record.SubscriptionType, "limio")}}
	return out
}

// stagesOf returns what a run reads.
func (k kind) stagesOf(c Config, m Mode) []stage {
	if m == Apply {
		return []stage{{"reviewed plans", c.reviewedStage}}
	}
	return k.stages
}

// How far back the first run reads, and how much of what earlier runs read is
// read again, for clocks that differ and lists that lag.
const (
	firstRun       = 24 * time.Hour
	changedOverlap = 2 * time.Hour
	eventsOverlap  = 30 * time.Minute
	eventsKept     = 30 * 24 * time.Hour // by Stripe (zuora-stripe.md S3)
)

func changedSince(mark, now time.Time) (since time.Time, note string) {
	if mark.IsZero() {
		return now.Add(-firstRun), "the first run reads the changes of the last 24 h; " + ZuoraFull + " finds what is older"
	}
	return mark.Add(-changedOverlap), ""
}

func eventsSince(mark, now time.Time) (since time.Time, note string) {
	oldest := now.Add(-eventsKept)
	switch {
	case mark.IsZero():
		return now.Add(-firstRun), "the first run reads the events of the last 24 h; " + StripeDrift + " finds what is older"
	case mark.Before(oldest):
		return oldest, fmt.Sprintf("events are known up to %s and Stripe keeps 30 days of them, so some are gone: run %s to find what they told of",
			mark.UTC().Format(time.RFC3339), StripeDrift)
	}
	since = mark.Add(-eventsOverlap)
	if since.Before(oldest) {
		since = oldest
	}
	return since, ""
}

// listStage judges all records of a billing system.
func (c Config) listStage(list func(context.Context, string) (record.Page, error)) func(context.Context, Run, string) (batch, error) {
	return func(ctx context.Context, run Run, cursor string) (batch, error) {
		page, err := list(ctx, cursor)
		if err != nil {
			return batch{}, err
		}
		return batch{findings: c.judge(page.Glimpses, run.Deep), listed: len(page.Glimpses), next: page.Next}, nil
	}
}

// changedStage judges the accounts to which changed records of a kind belong.
func (c Config) changedStage(of string) func(context.Context, Run, string) (batch, error) {
	return func(ctx context.Context, run Run, cursor string) (batch, error) {
		ids, next, err := c.Lists.ZuoraChanged(ctx, of, run.Since, cursor)
		if err != nil {
			return batch{}, err
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		out := batch{listed: len(ids), next: next}
		for some := range slices.Chunk(ids, GlimpsesAtOnce) {
			var shown []record.Glimpse
			if !run.Deep { // all are due: what a list shows of them is of no interest
				if shown, err = c.Lists.ZuoraGlimpses(ctx, some); err != nil {
					return batch{}, err
				}
			}
			out.findings = append(out.findings, c.judge(everyOne(some, shown), run.Deep)...)
		}
		return out, nil
	}
}

// everyOne returns a glimpse of each account. One that is not shown gets one
// without a mark, so that it is looked at.
func everyOne(ids []string, shown []record.Glimpse) []record.Glimpse {
	marks := make(map[record.Key]record.Mark, len(shown))
	for _, g := range shown {
		marks[g.Key] = g.Mark
	}
	out := make([]record.Glimpse, 0, len(ids))
	for _, id := range ids {
		key := record.ZuoraAccount(id)
		out = append(out, record.Glimpse{Key: key, Mark: marks[key]})
	}
	return out
}

func (c Config) judge(glimpses []record.Glimpse, deep bool) []finding {
	var out []finding
	for _, g := range glimpses {
		if deep {
			out = append(out, finding{key: g.Key, why: WhyDeep, verify: true})
		} else if why, due := c.Due(g); due {
			out = append(out, finding{key: g.Key, why: why})
		}
	}
	return out
}

// eventStage judges what happened by whether it was looked at since.
func (c Config) eventStage(ctx context.Context, run Run, cursor string) (batch, error) {
	found, next, err := c.Lists.StripeEvents(ctx, run.Since, cursor)
	if err != nil {
		return batch{}, err
	}
	out := batch{listed: len(found), next: next}
	for _, t := range found {
		if run.Deep {
			out.findings = append(out.findings, finding{key: t.Key, why: WhyDeep, verify: true})
		} else if !c.Looked(t.Key, t.At) {
			out.findings = append(out.findings, finding{key: t.Key, why: WhyEvent})
		}
	}
	return out, nil
}

// limioStage judges the Limio records that belong to a system. What somebody
// else has touched in Limio is found only by reading Limio, so the key is
// verified.
func (c Config) limioStage(t record.Type, system string) func(context.Context, Run, string) (batch, error) {
	return func(ctx context.Context, run Run, cursor string) (batch, error) {
		found, next, err := c.Lists.Limio(ctx, t, cursor)
		if err != nil {
			return batch{}, err
		}
		out := batch{listed: len(found), next: next}
		for _, o := range found {
			key, why, due := c.Stale(o.ID, o.Fields["updated"].String())
			if key.System != system || !due && !run.Deep {
				continue
			}
			f := finding{key: key, why: why, verify: true}
			if run.Deep {
				f.why = WhyDeep
			}
			if key.Kind == "subscription" && key.System != "limio" {
				f.limio = o.ID
			}
			out.findings = append(out.findings, f)
		}
		return out, nil
	}
}
