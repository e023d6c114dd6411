package zuora_test

import (
	"strings"
	"time"

	sim "hotsync/sandbox/zuora"
)

// mutation is one thing that can happen to an account of the sandbox. pick
// chooses one of n.
type mutation struct {
	name string
	do   func(w *world, pick func(n int) int, account string) error
}

// ofAccount edits the account; ofSub and ofMethod edit one of what it has, and
// nothing when it has none.
func ofAccount(name string, edit func(*sim.Account)) mutation {
	return mutation{name, func(w *world, _ func(int) int, id string) error { return w.UpdateAccount(id, edit) }}
}

func ofSub(name string, do func(w *world, number string) error) mutation {
	return mutation{name, func(w *world, pick func(int) int, id string) error {
		subs := w.Server.Subscriptions(id)
		if len(subs) == 0 {
			return nil
		}
		return do(w, subs[pick(len(subs))].Number)
	}}
}

func ofMethod(name string, edit func(*sim.PaymentMethod)) mutation {
	return mutation{name, func(w *world, pick func(int) int, id string) error {
		methods := w.PaymentMethods(id)
		if len(methods) == 0 {
			return nil
		}
		return w.UpdatePaymentMethod(methods[pick(len(methods))].ID, edit)
	}}
}

func change(name string, edit func(*sim.Subscription)) mutation {
	return ofSub(name, func(w *world, number string) error {
		_, err := w.ChangeSubscription(number, sim.Order{}, edit)
		return err
	})
}

func mutations() []mutation {
	return []mutation{
		ofAccount("name", func(a *sim.Account) { a.Name += "x" }),
		ofAccount("status", func(a *sim.Account) { a.Status = map[string]string{"Active": "Canceled"}[a.Status] }),
		ofAccount("crm id", func(a *sim.Account) { a.CRMID = new("001" + a.Name) }),
		ofAccount("no crm id", func(a *sim.Account) { a.CRMID = nil }),
		ofAccount("currency", func(a *sim.Account) { a.Currency = map[string]string{"EUR": "USD", "USD": "EUR"}[a.Currency] }),
		ofAccount("notes", func(a *sim.Account) { a.Notes += "x" }),
		ofAccount("balance", func(a *sim.Account) { a.Balance++ }),
		ofAccount("custom field", func(a *sim.Account) { a.CustomFields = map[string]any{"Score__c": a.Balance} }),
		ofAccount("first name", func(a *sim.Account) { a.BillTo.FirstName += "x" }),
		ofAccount("last name", func(a *sim.Account) { a.BillTo.LastName += "x" }),
		ofAccount("address", func(a *sim.Account) { a.BillTo.Address1 += "x" }),
		ofAccount("second line", func(a *sim.Account) { a.BillTo.Address2 += "x" }),
		ofAccount("city", func(a *sim.Account) { a.BillTo.City += "x" }),
		ofAccount("state", func(a *sim.Account) { a.BillTo.State += "x" }),
		ofAccount("postcode", func(a *sim.Account) { a.BillTo.PostalCode += "1" }),
		ofAccount("country", func(a *sim.Account) {
			a.BillTo.Country = map[string]string{"Ireland": "France"}[a.BillTo.Country]
		}),
		ofAccount("work e-mail", func(a *sim.Account) { a.BillTo.WorkEmail += "x" }),
		ofAccount("personal e-mail", func(a *sim.Account) { a.BillTo.PersonalEmail += "x" }),
		ofAccount("work phone", func(a *sim.Account) { a.BillTo.WorkPhone += "1" }),
		ofAccount("home phone", func(a *sim.Account) { a.BillTo.HomePhone += "1" }),
		ofAccount("mobile phone", func(a *sim.Account) { a.BillTo.MobilePhone += "1" }),
		ofAccount("nickname", func(a *sim.Account) { a.BillTo.Nickname += "x" }),
		ofAccount("sold to", func(a *sim.Account) {
			if a.SoldTo == nil {
				a.SoldTo = &sim.Contact{LastName: "Other", Country: "Spain"}
			} else {
				a.SoldTo = nil
			}
		}),
		ofAccount("no default method", func(a *sim.Account) { a.DefaultPaymentMethodID = "" }),
		{"new method", func(w *world, _ func(int) int, id string) error {
			_, err := w.AddPaymentMethod(id, sim.PaymentMethod{Type: "CreditCard", CardNumber: "************4242", CardType: "Visa", ExpMonth: 9, ExpYear: 2028})
			return err
		}},
		{"new bank", func(w *world, _ func(int) int, id string) error {
			_, err := w.AddPaymentMethod(id, sim.PaymentMethod{Type: "BankTransfer", IBAN: "******************3000"})
			return err
		}},
		{"default method", func(w *world, pick func(int) int, id string) error {
			methods := w.PaymentMethods(id)
			if len(methods) == 0 {
				return nil
			}
			return w.SetDefaultPaymentMethod(id, methods[pick(len(methods))].ID)
		}},
		ofMethod("closed", func(p *sim.PaymentMethod) { p.Status = sim.PaymentMethodClosed }),
		ofMethod("card", func(p *sim.PaymentMethod) { p.CardNumber = strings.ReplaceAll(p.CardNumber, "42", "17") }),
		ofMethod("brand", func(p *sim.PaymentMethod) { p.CardType += "x" }),
		ofMethod("expiry", func(p *sim.PaymentMethod) { p.ExpYear++ }),
		ofMethod("month", func(p *sim.PaymentMethod) { p.ExpMonth = p.ExpMonth%12 + 1 }),
		ofMethod("iban", func(p *sim.PaymentMethod) { p.IBAN = strings.Replace(p.IBAN, "3000", "4000", 1) }),
		ofMethod("a failed payment", func(p *sim.PaymentMethod) { p.ConsecutiveFailures++ }),
		{"new subscription", func(w *world, pick func(int) int, id string) error {
			_, err := w.AddSubscription(sim.Subscription{AccountID: id, StartDate: "2026-01-01", AutoRenew: pick(2) == 0,
				TermType:  []string{sim.Termed, sim.Evergreen}[pick(2)],
				RatePlans: []sim.RatePlan{{ProductName: "Digital", ProductRatePlanID: "prp1", Charges: []sim.Charge{{Price: 999}}}}}, sim.Order{})
			return err
		}},
		change("touched", func(*sim.Subscription) {}),
		change("price", func(s *sim.Subscription) {
			for i := range s.RatePlans {
				s.RatePlans[i].Charges[0].Price++
			}
		}),
		change("a charge ends early", func(s *sim.Subscription) {
			for i := range s.RatePlans {
				s.RatePlans[i].Charges[0].EffectiveEndDate = "2026-04-01"
			}
		}),
		change("another plan", func(s *sim.Subscription) {
			s.RatePlans = append(s.RatePlans, sim.RatePlan{ProductName: "Print", ProductRatePlanID: "prp2", Charges: []sim.Charge{{Price: 500}}})
		}),
		change("suspended", func(s *sim.Subscription) { s.Status = sim.StatusSuspended }),
		change("active", func(s *sim.Subscription) { s.Status = sim.StatusActive }),
		change("renewal", func(s *sim.Subscription) { s.AutoRenew = !s.AutoRenew }),
		change("custom", func(s *sim.Subscription) { s.CustomFields = map[string]any{"LimioOffer__c": s.Number} }),
		ofSub("edited in place", func(w *world, number string) error {
			w.clock.Advance(time.Millisecond) // two edits in one instant have one stamp
			return w.EditSubscription(number, func(s *sim.Subscription) {
				s.CustomFields = map[string]any{"Note__c": w.clock.Now().String()}
			})
		}),
		ofSub("renewed", func(w *world, number string) error {
			_, err := w.RenewSubscription(number, sim.Order{})
			return ignore(err)
		}),
		ofSub("cancelled", func(w *world, number string) error {
			_, err := w.CancelSubscription(number, "2026-03-05", sim.Order{})
			return ignore(err)
		}),
		ofSub("cancelled for later", func(w *world, number string) error {
			_, err := w.CancelSubscription(number, "2026-05-05", sim.Order{})
			return ignore(err)
		}),
		ofSub("plan removed", func(w *world, number string) error {
			_, err := w.RemoveRatePlan(number, "prp1", sim.Order{})
			return ignore(err)
		}),
		{"billed", func(w *world, _ func(int) int, id string) error { _, err := w.Bill(id, "2026-04-15"); return err }},
	}
}

// ignore is for what the sandbox refuses, such as to cancel twice: then nothing
// has changed.
func ignore(error) error { return nil }
