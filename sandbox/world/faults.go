package world

import (
	"time"

	"hotsync/sandbox/httpsim"
)

const (
	firstFault  = 2 * time.Second
	faultPause  = 2500 * time.Millisecond
	healthyLast = 0.85 // the share of a run of known length after which nothing new breaks
)

// Trouble is the share of calls, 0 to 1, that suffer each fault, for all three
// vendors.
type Trouble struct {
	RateLimited float64 // 429, from Stripe without Retry-After
	Internal    float64 // 500
	Dropped     float64 // the connection ends before an answer
	Locked      float64 // somebody else holds the record
}

// breakAll has every call suffer its share from now on. Each fault strikes once
// for certain, however few calls there are.
func (r *run) breakAll(t Trouble) {
	for _, s := range []struct {
		sim     *httpsim.Sim
		lock    string
		records []string // paths under which there are some: a token is never locked
	}{
		{r.w.zuora.Sim, "lock", []string{"/v1/", "/object-query/"}},
		{r.w.stripe.Sim, "lock_timeout", []string{"/v1/"}},
		{r.w.limio.Sim, "bad_gateway", []string{"/api/"}},
	} {
		faults := []httpsim.Fault{
			{Code: "rate_limit", Rate: t.RateLimited}, {Code: "internal", Rate: t.Internal}, {Drop: true, Rate: t.Dropped},
		}
		for _, path := range s.records {
			faults = append(faults, httpsim.Fault{Path: path, Code: s.lock, Rate: t.Locked})
		}
		for _, f := range faults {
			if f.Rate > 0 { // no rate means every call
				once := f
				once.Rate, once.Times = 0, 1
				r.faults = append(r.faults, s.sim.Inject(once), s.sim.Inject(f))
			}
		}
	}
}

// trouble breaks something for a while, and comes back.
func (r *run) trouble() (Step, error) {
	if d := r.w.cfg.Duration; r.closing() || d > 0 && r.w.clock.Now().Sub(r.started) > time.Duration(float64(d)*healthyLast) {
		return Step{}, nil
	}
	r.later(faultPause, r.trouble)
	short := 1500 * time.Millisecond
	switch kind := r.rnd.IntN(13); kind {
	case 0:
		r.inject(r.w.zuora.Sim, short, httpsim.Fault{Code: "rate_limit", Rate: 0.3})
	case 1:
		r.inject(r.w.zuora.Sim, short, httpsim.Fault{Code: "internal", Rate: 0.2})
	case 2:
		r.inject(r.w.zuora.Sim, short, httpsim.Fault{Drop: true, Rate: 0.1})
	case 3:
		r.inject(r.w.stripe.Sim, short, httpsim.Fault{Code: "rate_limit", Rate: 0.3})
	case 4:
		r.inject(r.w.stripe.Sim, short, httpsim.Fault{Code: "internal", Rate: 0.2})
	case 5:
		r.inject(r.w.limio.Sim, short, httpsim.Fault{Code: "unavailable", Rate: 0.3})
	case 6:
		r.inject(r.w.limio.Sim, short, httpsim.Fault{Code: "bad_gateway", Rate: 0.3})
	case 7:
		r.inject(r.w.limio.Sim, short, httpsim.Fault{Drop: true, Rate: 0.1})
	case 8:
		r.inject(r.w.limio.Sim, 5*time.Second, httpsim.Fault{Route: putRoute, DropAfter: true, Times: 2})
	case 9:
		r.inject(r.w.limio.Sim, 5*time.Second, httpsim.Fault{Route: postRoute, DropAfter: true, Times: 1})
	case 10:
		r.inject(r.w.limio.Sim, short, httpsim.Fault{Delay: 300 * time.Millisecond, Rate: 0.5})
	case 11:
		return r.lockAccount()
	default:
		return r.lockSubscription()
	}
	return Step{}, nil
}

const (
	postRoute = "POST /api/objects/{service}/{path_type}"
	locked    = 6 * time.Second
)

// lockAccount has a change wait that cannot be read for some seconds.
func (r *run) lockAccount() (Step, error) {
	id, ok := r.account(roleFree, locked)
	if !ok {
		return Step{}, nil
	}
	r.inject(r.w.zuora.Sim, locked, httpsim.Fault{Path: id, Code: "lock"})
	return r.w.MoveInZuora(id)
}

func (r *run) lockSubscription() (Step, error) {
	id, ok := r.subscription(roleFree, locked)
	if !ok {
		return Step{}, nil
	}
	r.inject(r.w.stripe.Sim, locked, httpsim.Fault{Path: id, Code: "lock_timeout"})
	return r.w.RenewSubscription(id)
}

// inject breaks one simulator for a while.
func (r *run) inject(sim *httpsim.Sim, lasts time.Duration, f httpsim.Fault) {
	heal := sim.Inject(f)
	r.faults = append(r.faults, heal)
	r.later(lasts, func() (Step, error) { heal(); return Step{}, nil })
}

// heal removes every fault that was injected.
func (r *run) heal() {
	for _, heal := range r.faults {
		heal()
	}
	r.faults = nil
}
