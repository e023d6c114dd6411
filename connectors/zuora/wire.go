package zuora

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/record"
)

// This file holds the shapes of Zuora's answers (zuora-stripe.md Z2, Z4, Z5),
// with only what is used of them.

// account is an account of Object Query.
type account struct {
	ID             string    `json:"id"`
	Number         string    `json:"accountNumber"`
	Name           string    `json:"name"`
	Status         string    `json:"status"`
	CRMID          string    `json:"crmId"`
	Currency       string    `json:"currency"`
	DefaultMethod  string    `json:"defaultPaymentMethodId"`
	BillTo         *contact  `json:"billTo"`
	SoldTo         *contact  `json:"soldTo"`
	PaymentMethods []method  `json:"paymentMethods"`
	Versions       []version `json:"subscriptions"`
	BillCycleDay   word      `json:"billCycleDay"`
	LastInvoice    string    `json:"lastInvoiceDate"`
}

// version is a version of a subscription, as an account shows it. On a
// versioned tenant each version is a row (zuora-stripe.md Z4).
type version struct {
	ID      string `json:"id"`
	Name    string `json:"name"` // the number
	Version int    `json:"version"`
	Status  string `json:"status"`
	Updated string `json:"updatedDate"`
	End     string `json:"subscriptionEndDate"`
	TermEnd string `json:"termEndDate"`
}

// versionFields are the fields of version, as fields[] takes them.
const versionFields = "id,name,version,status,updateddate,subscriptionenddate,termenddate"

// contact is a contact of Object Query.
type contact struct {
	FirstName     string `json:"firstName"`
	LastName      string `json:"lastName"`
	Address1      string `json:"address1"`
	Address2      string `json:"address2"`
	City          string `json:"city"`
	State         string `json:"state"`
	PostalCode    string `json:"postalCode"`
	Country       string `json:"country"`
	WorkEmail     string `json:"workEmail"`
	PersonalEmail string `json:"personalEmail"`
	WorkPhone     string `json:"workPhone"`
	MobilePhone   string `json:"mobilePhone"`
	HomePhone     string `json:"homePhone"`
}

// method is a payment method, with the names of Object Query and of v1.
type method struct {
	ID   string `json:"id"`
	Type string `json:"type"`

	Status  string `json:"paymentMethodStatus"`
	Active  *bool  `json:"active"`
	Mask    string `json:"creditCardMaskNumber"`
	Brand   string `json:"creditCardType"` // v1 too
	Month   word   `json:"creditCardExpirationMonth"`
	Year    word   `json:"creditCardExpirationYear"`
	IBAN    string `json:"iBAN"` // v1 writes IBAN
	ACHMask string `json:"achAccountNumberMask"`
	Bank    string `json:"bankTransferAccountNumberMask"`

	StatusV1 string `json:"status"`
	Card     string `json:"cardNumber"`
	MonthV1  word   `json:"expirationMonth"`
	YearV1   word   `json:"expirationYear"`
	Account  string `json:"bankAccountNumber"`
	AccountV string `json:"accountNumber"`

	GoogleCard   string `json:"googleCardNumber"`
	GoogleType   string `json:"googleCardType"`
	GoogleExpiry string `json:"googleExpiryDate"`
	AppleCard    string `json:"appleCardNumber"`
	AppleType    string `json:"appleCardType"`
	AppleExpiry  string `json:"appleExpiryDate"`
}

// methods is the v1 answer: every array of objects with an id and a type is a
// list of payment methods, whatever its name.
type methods []method

// UnmarshalJSON implements json.Unmarshaler.
func (m *methods) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var rows []json.RawMessage
		if json.Unmarshal(fields[name], &rows) != nil {
			continue
		}
		for _, row := range rows {
			var kind struct {
				ID   string `json:"id"`
				Type string `json:"type"`
			}
			if json.Unmarshal(row, &kind) != nil || kind.ID == "" || kind.Type == "" {
				continue
			}
			var one method
			if err := json.Unmarshal(row, &one); err != nil {
				return err
			}
			*m = append(*m, one)
		}
	}
	return nil
}

// subscription is a subscription of v1.
type subscription struct {
	Number       string     `json:"subscriptionNumber"`
	Version      int        `json:"version"`
	Status       string     `json:"status"`
	TermType     string     `json:"termType"`
	Contract     day        `json:"contractEffectiveDate"`
	Start        day        `json:"subscriptionStartDate"`
	End          day        `json:"subscriptionEndDate"`
	TermStart    day        `json:"termStartDate"`
	TermEnd      day        `json:"termEndDate"`
	AutoRenew    bool       `json:"autoRenew"`
	Currency     string     `json:"currency"`
	CancelReason string     `json:"cancelReason"`
	RatePlans    []ratePlan `json:"ratePlans"`

	custom map[string]string // the custom fields that are scalars
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *subscription) UnmarshalJSON(b []byte) error {
	type plain subscription
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for name, raw := range fields {
		if !strings.HasSuffix(name, "__c") || len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null" {
			continue
		}
		if s.custom == nil {
			s.custom = map[string]string{}
		}
		s.custom[name] = record.Value(raw).String()
	}
	return nil
}

// ratePlan is a rate plan of v1.
type ratePlan struct {
	ProductName string   `json:"productName"`
	Product     string   `json:"productRatePlanId"`
	Name        string   `json:"ratePlanName"`
	LastChange  string   `json:"lastChangeType"`
	Charges     []charge `json:"ratePlanCharges"`
}

// charge is one segment of a charge of v1.
type charge struct {
	Number   string      `json:"number"`
	Type     string      `json:"type"`
	Price    json.Number `json:"price"`
	Currency string      `json:"currency"`
	Quantity json.Number `json:"quantity"`
	Start    day         `json:"effectiveStartDate"`
	End      day         `json:"effectiveEndDate"`
	Segment  int         `json:"segment"`
}

// order is an order of v1.
type order struct {
	Number  string                     `json:"orderNumber"`
	Status  string                     `json:"status"`
	Date    string                     `json:"orderDate"`
	Created string                     `json:"createdDate"`
	Custom  map[string]json.RawMessage `json:"customFields"`
}

// day is a date as midnight UTC; null and "" are zero.
type day struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (d *day) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == "" {
		*d = day{}
		return nil
	}
	t, ok := record.ParseDay(s)
	if !ok {
		return fmt.Errorf("%q is no date", s[:min(len(s), 40)])
	}
	*d = day{t}
	return nil
}

// number returns a whole number, 0 when there is none.
func (w word) number() int {
	n, err := strconv.Atoi(string(w))
	if err != nil {
		return 0
	}
	return n
}
