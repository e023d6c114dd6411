package zuora

import (
	"maps"
	"net/http"
	"strings"
)

// group is the name of the array that lists a payment method in the v1 API.
func (p *PaymentMethod) group() string {
	switch t := strings.ToLower(p.Type); {
	case p.Group != "":
		return p.Group
	case strings.HasPrefix(t, "paypal"):
		return "paypal"
	case strings.HasSuffix(t, "applepay"):
		return "applepay"
	case strings.HasSuffix(t, "googlepay"):
		return "googlepay"
	default: // creditcard, debitcard, creditcardreferencetransaction, ach, banktransfer, and the tenant's own
		return t
	}
}

func (s *Server) getPaymentMethods(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, err := s.find(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	groups := map[string][]fields{}
	for _, id := range s.methodsOf[a.ID] {
		p := s.methods[id]
		if q.Get("isActiveOnly") == "true" && p.Status != PaymentMethodActive ||
			q.Get("isDefaultOnly") == "true" && id != a.DefaultPaymentMethodID {
			continue
		}
		groups[p.group()] = append(groups[p.group()], s.methodV1(p))
	}
	out := fields{
		"success": true, "defaultPaymentMethodId": orNull(a.DefaultPaymentMethodID), "paymentGateway": orNull(a.PaymentGateway),
	}
	for name, list := range groups {
		out[name] = list
	}
	return out, nil
}

func (s *Server) getDefaultPaymentMethod(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, err := s.find(r)
	if err != nil {
		return nil, err
	}
	p := s.methods[a.DefaultPaymentMethodID]
	if p == nil {
		return nil, fault(notFound, "Account '"+a.Number+"' has no default payment method.")
	}
	out := s.methodV1(p)
	out["success"] = true
	return out, nil
}

func (s *Server) getPaymentMethod(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.methods[r.PathValue("id")]
	if p == nil {
		return nil, unfound(r.PathValue("id"))
	}
	out := s.methodV1(p)
	out["success"] = true
	return out, nil
}

// methodV1 is the item of the v1 API. What it has beside the common fields
// depends on the group.
func (s *Server) methodV1(p *PaymentMethod) fields {
	out := fields{
		"id": p.ID, "type": p.Type, "status": p.Status, "accountKey": p.AccountID,
		"isDefault":              s.accounts[p.AccountID].DefaultPaymentMethodID == p.ID,
		"numConsecutiveFailures": p.ConsecutiveFailures, "lastTransactionStatus": orNull(p.LastTransactionStatus),
		"createdDate": s.zoneless(p.CreatedAt), "updatedDate": s.zoneless(p.UpdatedAt),
	}
	holder := fields{"accountHolderName": orNull(p.HolderName), "country": orNull(p.Country), "zipCode": orNull(p.PostalCode)}
	switch p.group() {
	case "creditcard", "debitcard", "creditcardreferencetransaction":
		maps.Copy(out, fields{
			"cardNumber": orNull(p.CardNumber), "creditCardType": orNull(p.CardType),
			"expirationMonth": orNull(p.ExpMonth), "expirationYear": orNull(p.ExpYear), "accountHolderInfo": holder,
		})
	case "paypal":
		maps.Copy(out, fields{"BAID": orNull(p.BAID), "email": orNull(p.Email)})
	case "banktransfer":
		maps.Copy(out, fields{
			"bankTransferType": orNull(p.BankTransferType), "IBAN": orNull(p.IBAN), "accountNumber": orNull(p.BankAccountNumber),
			"mandateInfo": fields{"mandateId": orNull(p.MandateID)}, "accountHolderInfo": holder,
		})
	case "ach":
		maps.Copy(out, fields{
			"bankName": orNull(p.BankName), "bankAccountNumber": orNull(p.BankAccountNumber),
			"bankABACode": orNull(p.BankABACode), "bankAccountType": orNull(p.BankAccountType), "accountHolderInfo": holder,
		})
	}
	maps.Copy(out, p.Extra)
	return out
}
