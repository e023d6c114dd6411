package limio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// zuoraSync is POST /api/plugins/zuora/sync/subscription/{id} (assumption 5).
func (s *Server) zuoraSync(w http.ResponseWriter, r *http.Request) {
	if err := onlyQuery(r); err != nil {
		s.answer(w, nil, err)
		return
	}
	sub, err := s.syncZuora(r.Context(), r.Pattern, r.PathValue("id"), syncEvent{typ: s.cfg.SyncEventType, message: "Zuora subscription sync"})
	s.answer(w, synced(sub), err)
}

func synced(sub Object) map[string]any {
	return map[string]any{"success": true, "id": sub.ID, "owner": sub.JSON["owner"]}
}

// syncZuora reads a Zuora subscription, makes Limio say the same, and leaves
// an event and a process event behind, however it ends.
func (s *Server) syncZuora(ctx context.Context, route, id string, ev syncEvent) (sub Object, err error) {
	from, err := s.readZuora(ctx, id)
	changeErr := s.change(BySync, route, func(tx *Tx) error {
		ev.target = id
		if err != nil {
			tx.addSyncEvents(ev, Object{}, err)
			return err
		}
		if sub, err = tx.applyZuora(from); err != nil {
			return err
		}
		tx.addSyncEvents(ev, sub, nil)
		return nil
	})
	return sub, changeErr
}

func (s *Server) readZuora(ctx context.Context, id string) (ZuoraSubscription, error) {
	if s.cfg.Zuora == nil {
		return ZuoraSubscription{}, refuse(http.StatusBadGateway, "the zuora plugin is not configured")
	}
	from, err := s.cfg.Zuora(ctx, id)
	if err == nil && (from.Number == "" || from.Account.ID == "") {
		err = errors.New("it has no number or no account")
	}
	return from, s.sourceProblem("zuora subscription "+id, err)
}

func (s *Server) sourceProblem(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnknown):
		return refuse(s.cfg.UnknownStatus, "%s not found", what)
	default:
		return refuse(http.StatusBadGateway, "read %s: %v", what, err)
	}
}

// applyZuora creates what is missing and refreshes the rest.
func (tx *Tx) applyZuora(from ZuoraSubscription) (Object, error) {
	st := &tx.s.store
	before := st.log.seq
	found := st.first(key{"number", from.Number})
	customer := tx.zuoraCustomer(from.Account, found)
	if found == nil {
		found = st.entries[tx.addSubscription(SubscriptionParams{
			Customer: customer, Number: from.Number, Name: from.PlanName, Status: zuoraStatus(from.Status),
			TermStart: from.TermStart, TermEnd: from.TermEnd, AutoRenew: from.AutoRenew, Imported: true,
		}, "")]
	}
	err := tx.refresh(found.id, func(json map[string]any) {
		json["customer"], json["owner"] = customer, tx.ownerOf(customer, "")
		if status := zuoraStatus(from.Status); status != "" {
			json["status"] = status
		}
		data := child(json, "data")
		setTerms(data, from.TermStart, from.TermEnd)
		child(data, "attributes")["autoRenew"] = from.AutoRenew
	})
	if err != nil {
		return Object{}, err
	}
	if err := tx.applyAddress(customer, "billing", from.BillTo); err != nil {
		return Object{}, err
	}
	if err := tx.applyAddress(customer, "delivery", from.SoldTo); err != nil {
		return Object{}, err
	}
	if from.Schedules != nil {
		if err := tx.applySchedules(found.id, from.Schedules, false); err != nil {
			return Object{}, err
		}
	}
	if st.log.seq == before {
		tx.noop(found.object())
	}
	return found.object(), nil
}

// zuoraCustomer returns the customer of an account: the one with its
// identity, else the one that has the subscription, else a new one. It brings
// name, e-mail and identities up to date.
func (tx *Tx) zuoraCustomer(account ZuoraAccount, sub *entry) string {
	st := &tx.s.store
	var customer string
	identity := st.first(accountKey("zuora", account.ID))
	if identity != nil {
		customer = str(identity.json(), "customer")
	}
	if st.entries[customer] == nil && sub != nil {
		customer = str(sub.json(), "customer")
	}
	if st.entries[customer] == nil {
		customer, _ = tx.addCustomer(CustomerParams{
			Name: account.Name, FirstName: account.FirstName, LastName: account.LastName, Email: account.Email,
			ZuoraAccount: account.ID, SalesforceAccount: account.CRMID,
		}, "id-"+hash(tx.s.rnd))
		return customer
	}
	_ = tx.refresh(customer, func(json map[string]any) { // it was just looked up
		data := child(json, "data")
		for name, value := range map[string]string{
			"name": account.Name, "firstName": account.FirstName, "lastName": account.LastName, "email": account.Email,
		} {
			set(data, name, value)
		}
	})
	if identity == nil {
		tx.addIdentity(IdentityParams{Customer: customer, Service: "zuora", Value: account.ID})
	}
	tx.applySalesforce(customer, account.CRMID)
	return customer
}

// applySalesforce makes the customer's Salesforce identity hold crm. Without
// a CRM id nothing is touched.
func (tx *Tx) applySalesforce(customer, crm string) {
	if crm == "" {
		return
	}
	for _, e := range tx.s.store.find(key{"customer", customer}) {
		data := obj(e.json(), "data")
		if e.recordType == TypeIdentity && str(data, "service") == "salesforce" && str(data, "type") == "account" {
			_ = tx.refresh(e.id, func(json map[string]any) { child(json, "data")["value"] = crm }) // it was just looked up
			return
		}
	}
	tx.addIdentity(IdentityParams{Customer: customer, Service: "salesforce", Value: crm})
}

// applyAddress makes the newest address of a customer with the relationship
// say what a says. The zero address changes nothing.
func (tx *Tx) applyAddress(customer, relationship string, a Address) error {
	if a == (Address{}) {
		return nil
	}
	var newest *entry
	for _, e := range tx.s.store.find(key{"customer", customer}) {
		if e.recordType == TypeAddress && str(e.json(), "relationship_type") == relationship &&
			(newest == nil || str(e.json(), "start") >= str(newest.json(), "start")) {
			newest = e
		}
	}
	if newest == nil {
		tx.addAddress(AddressParams{Customer: customer, Relationship: relationship, Address: a})
		return nil
	}
	err := tx.refresh(newest.id, func(json map[string]any) {
		data := child(json, "data")
		for name, value := range a.data() {
			set(data, name, value.(string))
		}
	})
	return err
}

// set stores a text, but leaves an absent value absent if the text is empty.
func set(data map[string]any, name, value string) {
	if str(data, name) != value {
		data[name] = value
	}
}

func zuoraStatus(status string) string {
	switch strings.ToLower(strings.ReplaceAll(status, " ", "")) {
	case "active":
		return "active"
	case "cancelled":
		return "cancelled"
	case "expired":
		return "expired"
	case "pendingactivation", "pendingacceptance":
		return "pending"
	}
	return "" // leave it
}

// zuoraEvent is POST /api/events/zuora (limio.md 3.5): no token, but the
// caller's address counts.
func (s *Server) zuoraEvent(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if !s.fromZuora(r) {
		s.fail(w, http.StatusForbidden, "Forbidden")
		return
	}
	body, err := readBody(r)
	id := str(body, "subscriptionID")
	if err == nil && id == "" {
		err = refuse(http.StatusBadRequest, "subscriptionID is required")
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	action := str(body, "type")
	sub, err := s.syncZuora(r.Context(), r.Pattern, id, syncEvent{typ: "zuora." + orElse(action, "event"), message: "Zuora event received"})
	if err == nil && action == "CancelSubscription" {
		err = s.change(BySync, r.Pattern, func(tx *Tx) error {
			if err := tx.refresh(sub.ID, func(json map[string]any) { json["status"] = "cancelled" }); err != nil {
				return fmt.Errorf("cancel %s: %w", sub.ID, err)
			}
			tx.addEvent("subscription_cancelled", "Subscription cancelled", sub.ID, nil)
			return nil
		})
	}
	s.answer(w, synced(sub), err)
}

func (s *Server) fromZuora(r *http.Request) bool {
	if len(s.cfg.ZuoraIPs) == 0 {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(s.cfg.ZuoraIPs, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
