package zuora

import "cmp"

// This file lists the columns of every record type, by the names of the
// Expanded models (zuora-stripe.md Z2, Z4, Z5).

func describeAccount() *object {
	return &object{
		name: "Account", label: "account", zero: &Account{BillTo: &Contact{}},
		filterable: set("id", "accountnumber", "crmid", "status", "updateddate", "createddate", "name", "currency",
			"defaultpaymentmethodid", "billtoid", "soldtoid", "shiptoid", "parentid", "balance", "batch", "lastinvoicedate"),
		fields: columns[Account](
			"id", func(a *Account) any { return a.ID },
			"accountNumber", func(a *Account) any { return a.Number },
			"name", func(a *Account) any { return a.Name },
			"status", func(a *Account) any { return a.Status },
			"crmId", func(a *Account) any {
				if a.CRMID == nil {
					return nil
				}
				return *a.CRMID
			},
			"parentId", func(a *Account) any { return null(a.ParentID) },
			"batch", func(a *Account) any { return a.Batch },
			"notes", func(a *Account) any { return null(a.Notes) },
			"currency", func(a *Account) any { return a.Currency },
			"autoPay", func(a *Account) any { return a.AutoPay },
			"billCycleDay", func(a *Account) any { return a.BillCycleDay },
			"paymentTerm", func(a *Account) any { return a.PaymentTerm },
			"paymentGateway", func(a *Account) any { return null(a.PaymentGateway) },
			"defaultPaymentMethodId", func(a *Account) any { return null(a.DefaultPaymentMethodID) },
			"billToId", func(a *Account) any { return a.BillTo.ID },
			"soldToId", func(a *Account) any { return cmp.Or(a.SoldTo, a.BillTo).ID },
			"shipToId", func(a *Account) any {
				if a.ShipTo == nil {
					return nil
				}
				return a.ShipTo.ID
			},
			"balance", func(a *Account) any { return decimal(a.Balance, a.Currency) },
			"lastInvoiceDate", func(a *Account) any { return null(a.LastInvoiceDate) },
			"totalInvoiceBalance", func(a *Account) any { return decimal(a.Balance, a.Currency) },
			"createdDate", func(a *Account) any { return a.CreatedAt },
			"updatedDate", func(a *Account) any { return a.UpdatedAt },
		),
		custom: func(r any) map[string]any { return r.(*Account).CustomFields },
		rows: func(s *Server, each func(any)) {
			for _, id := range s.accountOrder {
				each(s.accounts[id])
			}
		},
		byKey: func(s *Server, key string) any { return found(s.account(key)) },
		find:  func(s *Server, id string) any { return found(s.accounts[id]) },
	}
}

func describeContact() *object {
	of := func(s *Server, account string, each func(any)) {
		a := s.accounts[account]
		for _, c := range []*Contact{a.BillTo, a.SoldTo, a.ShipTo} {
			if c != nil {
				each(c)
			}
		}
	}
	all := func(s *Server, each func(any)) {
		for _, id := range s.accountOrder {
			of(s, id, each)
		}
	}
	return &object{
		name: "Contact", label: "contact", zero: &Contact{},
		filterable: set("id", "accountid", "updateddate", "createddate", "firstname", "lastname", "workemail", "personalemail", "country"),
		fields: columns[Contact](
			"id", func(c *Contact) any { return c.ID },
			"accountId", func(c *Contact) any { return c.AccountID },
			"firstName", func(c *Contact) any { return null(c.FirstName) },
			"lastName", func(c *Contact) any { return null(c.LastName) },
			"nickName", func(c *Contact) any { return null(c.Nickname) },
			"address1", func(c *Contact) any { return null(c.Address1) },
			"address2", func(c *Contact) any { return null(c.Address2) },
			"city", func(c *Contact) any { return null(c.City) },
			"county", func(c *Contact) any { return null(c.County) },
			"state", func(c *Contact) any { return null(c.State) },
			"postalCode", func(c *Contact) any { return null(c.PostalCode) },
			"country", func(c *Contact) any { return null(c.Country) },
			"workEmail", func(c *Contact) any { return null(c.WorkEmail) },
			"personalEmail", func(c *Contact) any { return null(c.PersonalEmail) },
			"workPhone", func(c *Contact) any { return null(c.WorkPhone) },
			"homePhone", func(c *Contact) any { return null(c.HomePhone) },
			"mobilePhone", func(c *Contact) any { return null(c.MobilePhone) },
			"taxRegion", func(c *Contact) any { return null(c.TaxRegion) },
			"createdDate", func(c *Contact) any { return c.CreatedAt },
			"updatedDate", func(c *Contact) any { return c.UpdatedAt },
		),
		custom:    func(r any) map[string]any { return r.(*Contact).CustomFields },
		rows:      all,
		byAccount: of,
		byKey:     func(s *Server, key string) any { return found(s.contacts[key]) },
		find:      func(s *Server, id string) any { return found(s.contacts[id]) },
	}
}

func describeMethod() *object {
	of := func(s *Server, account string, each func(any)) {
		for _, id := range s.methodsOf[account] {
			each(s.methods[id])
		}
	}
	return &object{
		name: "PaymentMethod", label: "paymentmethod", zero: &PaymentMethod{},
		filterable: set("id", "accountid", "updateddate", "createddate", "type", "paymentmethodstatus", "active", "creditcardtype"),
		fields: columns[PaymentMethod](
			"id", func(p *PaymentMethod) any { return p.ID },
			"accountId", func(p *PaymentMethod) any { return p.AccountID },
			"type", func(p *PaymentMethod) any { return p.Type },
			"active", func(p *PaymentMethod) any { return p.Status == PaymentMethodActive },
			"paymentMethodStatus", func(p *PaymentMethod) any { return p.Status },
			"creditCardMaskNumber", func(p *PaymentMethod) any { return null(p.CardNumber) },
			"creditCardType", func(p *PaymentMethod) any { return null(p.CardType) },
			"creditCardExpirationMonth", func(p *PaymentMethod) any { return null(p.ExpMonth) },
			"creditCardExpirationYear", func(p *PaymentMethod) any { return null(p.ExpYear) },
			"creditCardHolderName", func(p *PaymentMethod) any { return null(p.HolderName) },
			"creditCardCountry", func(p *PaymentMethod) any { return null(p.Country) },
			"creditCardPostalCode", func(p *PaymentMethod) any { return null(p.PostalCode) },
			"paypalBaid", func(p *PaymentMethod) any { return null(p.BAID) },
			"paypalEmail", func(p *PaymentMethod) any { return null(p.Email) },
			"iBAN", func(p *PaymentMethod) any { return null(p.IBAN) },
			"bankTransferType", func(p *PaymentMethod) any { return null(p.BankTransferType) },
			"bankTransferAccountNumberMask", func(p *PaymentMethod) any { return onlyFor(p, "banktransfer", p.BankAccountNumber) },
			"achBankName", func(p *PaymentMethod) any { return onlyFor(p, "ach", p.BankName) },
			"achAccountNumberMask", func(p *PaymentMethod) any { return onlyFor(p, "ach", p.BankAccountNumber) },
			"achAbaCode", func(p *PaymentMethod) any { return onlyFor(p, "ach", p.BankABACode) },
			"achAccountType", func(p *PaymentMethod) any { return onlyFor(p, "ach", p.BankAccountType) },
			"mandateId", func(p *PaymentMethod) any { return null(p.MandateID) },
			"numConsecutiveFailures", func(p *PaymentMethod) any { return p.ConsecutiveFailures },
			"lastTransactionStatus", func(p *PaymentMethod) any { return null(p.LastTransactionStatus) },
			"createdDate", func(p *PaymentMethod) any { return p.CreatedAt },
			"updatedDate", func(p *PaymentMethod) any { return p.UpdatedAt },
		),
		rows: func(s *Server, each func(any)) {
			for _, account := range s.accountOrder {
				of(s, account, each)
			}
		},
		byAccount: of,
		byKey:     func(s *Server, key string) any { return found(s.methods[key]) },
		find:      func(s *Server, id string) any { return found(s.methods[id]) },
	}
}

func onlyFor(p *PaymentMethod, group, value string) any {
	if p.group() != group {
		return nil
	}
	return null(value)
}

func (s *Server) describeSubscription() *object {
	o := &object{
		name: "Subscription", label: "subscription", zero: &Subscription{},
		filterable: set("id", "accountid", "name", "status", "updateddate", "createddate", "contracteffectivedate", "termstartdate", "termenddate",
			"originalid", "islatestversion", "version"),
		fields: columns[Subscription](
			"id", func(v *Subscription) any { return v.ID },
			"name", func(v *Subscription) any { return v.Number },
			"accountId", func(v *Subscription) any { return v.AccountID },
			"invoiceOwnerId", func(v *Subscription) any { return v.AccountID },
			"version", func(v *Subscription) any { return v.Version },
			"status", func(v *Subscription) any { return unspaced(v.Status) },
			"termType", func(v *Subscription) any { return v.TermType },
			"contractEffectiveDate", func(v *Subscription) any { return null(v.ContractEffectiveDate) },
			"serviceActivationDate", func(v *Subscription) any { return null(v.ServiceActivationDate) },
			"contractAcceptanceDate", func(v *Subscription) any { return null(v.CustomerAcceptanceDate) },
			"subscriptionStartDate", func(v *Subscription) any { return null(v.StartDate) },
			"subscriptionEndDate", func(v *Subscription) any { return null(v.EndDate) },
			"termStartDate", func(v *Subscription) any { return null(v.TermStartDate) },
			"termEndDate", func(v *Subscription) any { return null(v.TermEndDate) },
			"cancelledDate", func(v *Subscription) any { return null(v.CancelledDate) },
			"initialTerm", func(v *Subscription) any { return v.InitialTerm },
			"initialTermPeriodType", func(v *Subscription) any { return null(v.InitialTermPeriodType) },
			"currentTerm", func(v *Subscription) any { return v.CurrentTerm },
			"currentTermPeriodType", func(v *Subscription) any { return null(v.CurrentTermPeriodType) },
			"renewalTerm", func(v *Subscription) any { return v.RenewalTerm },
			"renewalTermPeriodType", func(v *Subscription) any { return null(v.RenewalTermPeriodType) },
			"renewalSetting", func(v *Subscription) any { return null(v.RenewalSetting) },
			"autoRenew", func(v *Subscription) any { return v.AutoRenew },
			"currency", func(v *Subscription) any { return v.Currency },
			"cMRR", func(v *Subscription) any { return decimal(contractedMRR(v), v.Currency) },
			"cancelReason", func(v *Subscription) any { return null(v.CancelReason) },
			"notes", func(v *Subscription) any { return null(v.Notes) },
			"createdDate", func(v *Subscription) any { return v.CreatedAt },
			"updatedDate", func(v *Subscription) any { return v.UpdatedAt },
		),
		custom: func(r any) map[string]any { return r.(*Subscription).CustomFields },
		rows: func(s *Server, each func(any)) {
			s.eachVersion(func(v *Subscription) { each(v) })
		},
		byAccount: func(s *Server, account string, each func(any)) {
			s.eachVersionOf(account, func(v *Subscription) { each(v) })
		},
		byKey: func(s *Server, key string) any {
			if sub := s.latest(key); sub != nil {
				return sub
			}
			return found(s.version(key))
		},
		find: func(s *Server, id string) any {
			if v := s.version(id); v != nil && (v.LatestVersion || !s.cfg.SingleVersioned) {
				return v
			}
			return nil
		},
	}
	if s.cfg.SingleVersioned {
		for _, name := range []string{"originalid", "islatestversion"} {
			delete(o.filterable, name)
		}
		return o
	}
	o.fields = append(o.fields, columns[Subscription](
		"isLatestVersion", func(v *Subscription) any { return v.LatestVersion },
		"originalId", func(v *Subscription) any { return v.OriginalID },
		"previousSubscriptionId", func(v *Subscription) any { return null(v.PreviousID) },
	)...)
	return o
}

func describePlan() *object {
	return &object{
		name: "RatePlan", label: "rateplan", zero: &RatePlan{},
		fields: columns[RatePlan](
			"id", func(p *RatePlan) any { return p.ID },
			"subscriptionId", func(p *RatePlan) any { return p.SubscriptionID },
			"originalRatePlanId", func(p *RatePlan) any { return p.OriginalID },
			"productId", func(p *RatePlan) any { return p.ProductID },
			"productRatePlanId", func(p *RatePlan) any { return p.ProductRatePlanID },
			"name", func(p *RatePlan) any { return null(p.Name) },
			"amendmentType", func(p *RatePlan) any { return amendmentOf(p.LastChangeType) },
			"createdDate", func(p *RatePlan) any { return p.CreatedAt },
			"updatedDate", func(p *RatePlan) any { return p.UpdatedAt },
		),
		custom: func(r any) map[string]any { return r.(*RatePlan).CustomFields },
		rows: func(s *Server, each func(any)) {
			s.eachVersion(func(v *Subscription) {
				for i := range v.RatePlans {
					each(&v.RatePlans[i])
				}
			})
		},
	}
}

// amendmentOf is how Object Query tells what happened to a rate plan, which
// has no lastChangeType there.
func amendmentOf(change string) string {
	switch change {
	case ChangeUpdate:
		return "UpdateProduct"
	case ChangeRemove:
		return "RemoveProduct"
	default:
		return "NewProduct"
	}
}

func describeCharge() *object {
	return &object{
		name: "RatePlanCharge", label: "rateplancharge", zero: &Charge{},
		fields: columns[Charge](
			"id", func(c *Charge) any { return c.ID },
			"ratePlanId", func(c *Charge) any { return c.RatePlanID },
			"originalId", func(c *Charge) any { return c.OriginalID },
			"productRatePlanChargeId", func(c *Charge) any { return c.ProductChargeID },
			"chargeNumber", func(c *Charge) any { return c.Number },
			"name", func(c *Charge) any { return null(c.Name) },
			"chargeType", func(c *Charge) any { return c.Type },
			"chargeModel", func(c *Charge) any { return c.Model },
			"quantity", func(c *Charge) any { return c.Quantity },
			"uOM", func(c *Charge) any { return null(c.UnitOfMeasure) },
			"billingPeriod", func(c *Charge) any { return null(c.BillingPeriod) },
			"effectiveStartDate", func(c *Charge) any { return null(c.EffectiveStartDate) },
			"effectiveEndDate", func(c *Charge) any { return null(c.EffectiveEndDate) },
			"chargedThroughDate", func(c *Charge) any { return null(c.ChargedThroughDate) },
			"processedThroughDate", func(c *Charge) any { return null(c.ProcessedThroughDate) },
			"segment", func(c *Charge) any { return c.Segment },
			"isLastSegment", func(*Charge) any { return true },
			"mRR", func(c *Charge) any { return decimal(c.mrr(), c.Currency) },
			"tCV", func(c *Charge) any { return decimal(c.tcv(), c.Currency) },
			"createdDate", func(c *Charge) any { return c.CreatedAt },
			"updatedDate", func(c *Charge) any { return c.UpdatedAt },
		),
		custom: func(r any) map[string]any { return r.(*Charge).CustomFields },
		rows: func(s *Server, each func(any)) {
			s.eachVersion(func(v *Subscription) {
				for i := range v.RatePlans {
					for j := range v.RatePlans[i].Charges {
						each(&v.RatePlans[i].Charges[j])
					}
				}
			})
		},
	}
}

// describeTier describes where Object Query keeps a charge's price: in its
// tiers, of which a flat fee has one.
func describeTier() *object {
	return &object{
		name: "RatePlanChargeTier", label: "rateplanchargetier", zero: &Charge{},
		fields: columns[Charge](
			"id", func(c *Charge) any { return c.ID + "-1" },
			"ratePlanChargeId", func(c *Charge) any { return c.ID },
			"tier", func(*Charge) any { return 1 },
			"currency", func(c *Charge) any { return c.Currency },
			"price", func(c *Charge) any { return decimal(c.Price, c.Currency) },
			"createdDate", func(c *Charge) any { return c.CreatedAt },
			"updatedDate", func(c *Charge) any { return c.UpdatedAt },
		),
	}
}
