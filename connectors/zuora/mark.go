package zuora

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/record"
)

// markFormat is bumped when Account reads more of Zuora than it did, so that
// marks of an older build equal none of this one's.
const markFormat = "zuora account 1"

// mark is the mark of what an account row shows. A list and a single read show
// the same row, so both give the same mark.
//
// The account, its contacts and payment methods count by what they hold, not by
// their stamps: whether a change of one bumps another's is not known, and a
// payment bumps its method's every month. A subscription counts by the identity
// and the stamp of its latest version, since all that changes in it makes a new
// version or a new stamp. Two things change by time alone and are visible here,
// so they count too: an end that has come. Record.Account.Until says when the
// rest does.
//
// A bill run makes no new version; that there was one shows in the date of the
// account's last invoice, which counts when schedules are read.
//
// The mark is "" when a list in the row may have been cut: as many rows as the
// page has (zuora-stripe.md Z3).
func (c *Client) mark(a account) record.Mark {
	if len(a.PaymentMethods) >= maxExpanded || len(a.Versions) >= maxExpanded {
		return ""
	}
	parts := []string{
		markFormat, a.ID, a.Number, a.Name, a.Status, strings.TrimSpace(a.CRMID), a.Currency, a.DefaultMethod,
	}
	if c.cfg.Schedules {
		parts = append(parts, "schedules", strconv.Itoa(c.cfg.Horizon), string(a.BillCycleDay), a.LastInvoice)
	}
	for _, k := range []*contact{a.BillTo, a.SoldTo} {
		parts = append(parts, k.parts()...)
	}
	return record.MarkOf(append(append(parts, methodParts(a.PaymentMethods)...), versionParts(a.Versions, c.cfg.Now())...)...)
}

// parts are what an address is made of.
func (k *contact) parts() []string {
	if k == nil {
		return []string{"no contact"}
	}
	return []string{
		"contact", k.FirstName, k.LastName, k.Address1, k.Address2, k.City, k.State, k.PostalCode, k.Country,
		k.WorkEmail, k.PersonalEmail, k.WorkPhone, k.MobilePhone, k.HomePhone,
	}
}

func methodParts(rows []method) []string {
	methods := make([]record.PaymentMethod, len(rows))
	for i, m := range rows {
		methods[i] = m.record()
	}
	slices.SortFunc(methods, func(x, y record.PaymentMethod) int { return cmp.Compare(x.ID, y.ID) })
	parts := []string{"methods", strconv.Itoa(len(methods))}
	for _, m := range methods {
		parts = append(parts, m.ID, m.Type, strconv.FormatBool(m.Active), m.Brand, m.Last4, strconv.Itoa(m.ExpMonth), strconv.Itoa(m.ExpYear))
	}
	return parts
}

// versionParts are those of the latest version of each subscription.
func versionParts(rows []version, now time.Time) []string {
	latest := map[string]version{}
	for _, v := range rows {
		if have, ok := latest[v.Name]; !ok || v.Version > have.Version {
			latest[v.Name] = v
		}
	}
	parts := []string{"subscriptions", strconv.Itoa(len(latest))}
	for _, name := range slices.Sorted(maps.Keys(latest)) {
		v := latest[name]
		updated := v.Updated
		if t, ok := instant(updated, time.UTC); ok {
			updated = t.Format(time.RFC3339Nano) // the tenant's offset changes with the season
		}
		end, ends := record.ParseDay(cmp.Or(v.End, v.TermEnd))
		parts = append(parts, name, v.ID, strconv.Itoa(v.Version), normalised(v.Status), updated,
			strconv.FormatBool(ends && !end.After(now)))
	}
	return parts
}
