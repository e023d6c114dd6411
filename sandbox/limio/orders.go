package limio

import (
	"errors"
	"maps"
	"net/http"
	"slices"
)

// orderTypes are the order_type values that are taken (limio.md 2.7), with
// what carries them out; nil records the order and does nothing else.
var orderTypes = map[string]func(*Tx, *placed) error{
	"new":                 (*Tx).orderNew,
	"change_offer":        (*Tx).orderChangeOffer,
	"add_offer":           (*Tx).orderAddOffer,
	"cancel_subscription": (*Tx).orderCancel,
	"change_payment":      (*Tx).orderChangePayment,
	"change_address":      (*Tx).orderChangeAddress,
	"renew":               (*Tx).orderRenew,
	"update_subscription": (*Tx).orderUpdate,
	"add_charge":          nil,
	"gift_refund":         nil,
	"pay_invoice":         nil,
	"refund":              nil,
}

// orderFields of a request are stored on the order.
var orderFields = []string{
	"order_type", "source", "initiated_source", "external_id", "orderDate", "country", "checkoutId", "orderItems",
	"orderDiscount", "customerDetails", "userDetails", "billingDetails", "deliveryDetails", "recipientDetails",
	"payment", "total", "tracking", "forSubscription", "subscriptionId", "data",
}

// pendingOrder is an order in the queue.
type pendingOrder struct {
	id    string
	route string
	event string // the hash of its event
}

// placed is an order as it is carried out.
type placed struct {
	id   string
	body map[string]any // of the order object
	sub  string         // the subscription; orderNew sets it
	// number and owner were promised when a new subscription was ordered.
	number, owner string
}

func (s *Server) postOrder(w http.ResponseWriter, r *http.Request)      { s.submit(w, r, false) }
func (s *Server) postAdminOrder(w http.ResponseWriter, r *http.Request) { s.submit(w, r, true) }

// submit queues an order, or carries it out at once. Equal external ids are
// not noticed (limio.md 3.3).
func (s *Server) submit(w http.ResponseWriter, r *http.Request, admin bool) {
	body, err := readBody(r)
	if err == nil {
		err = onlyQuery(r)
	}
	if err == nil {
		err = s.checkOrder(body, admin)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	var out map[string]any
	err = s.change(ByOrder, r.Pattern, func(tx *Tx) error {
		p, err := tx.accept(body)
		if err != nil {
			return err
		}
		if now, _ := body["process_immediately"].(bool); now {
			if err := tx.process(p, nil); err != nil {
				return err
			}
		} else {
			s.orders = append(s.orders, p)
		}
		order := s.store.entries[p.id].json()
		out = map[string]any{
			"id": p.id, "order_reference": order["order_reference"], "status": order["orderState"],
			"external_id": order["external_id"], "subscriptionReference": order["subscriptionReference"], "owner": order["owner"],
		}
		return nil
	})
	s.answer(w, out, err)
}

func (s *Server) checkOrder(body map[string]any, admin bool) error {
	bad := func(format string, args ...any) error { return refuse(http.StatusBadRequest, format, args...) }
	typ := str(body, "order_type")
	if _, ok := orderTypes[typ]; !ok {
		return bad("order_type %q is not one of %v", typ, slices.Sorted(maps.Keys(orderTypes)))
	}
	if !admin {
		for _, name := range []string{"checkoutId", "country"} {
			if str(body, name) == "" {
				return bad("%s is required", name)
			}
		}
	}
	if v, there := body["process_immediately"]; there {
		if _, ok := v.(bool); !ok {
			return bad("process_immediately must be true or false")
		}
	}
	switch typ {
	case "new":
		if str(obj(body, "payment"), "type") == "" {
			return bad("payment.type is required")
		}
		if str(obj(body, "customerDetails"), "email") == "" {
			return bad("customerDetails.email is required")
		}
	case "change_payment":
		if str(obj(body, "payment"), "type") == "" {
			return bad("payment.type is required")
		}
	}
	if !slices.Contains([]string{"new", "change_offer", "add_offer"}, typ) {
		return nil
	}
	return s.checkItems(body)
}

func (s *Server) checkItems(body map[string]any) error {
	items, _ := body["orderItems"].([]any)
	if len(items) == 0 {
		return refuse(http.StatusBadRequest, "orderItems is required")
	}
	for i, item := range items {
		m, _ := item.(map[string]any)
		id := str(obj(m, "offer"), "id")
		if id == "" {
			return refuse(http.StatusBadRequest, "orderItems[%d].offer.id is required", i)
		}
		if _, ok := s.cfg.Catalog[id]; !ok && len(s.cfg.Catalog) > 0 {
			return refuse(http.StatusBadRequest, "orderItems[%d].offer.id: there is no published offer %s", i, id)
		}
	}
	return nil
}

// accept stores an order and its event.
func (tx *Tx) accept(body map[string]any) (pendingOrder, error) {
	rnd := tx.s.rnd
	typ := str(body, "order_type")
	json := map[string]any{
		"order_reference": reference(rnd), "orderState": "submitted", "status": "submitted", "__spec_version": "2",
		"orderDate": stamp(tx.now),
	}
	for _, name := range orderFields {
		if v, ok := body[name]; ok {
			json[name] = v
		}
	}
	json["reference"] = json["order_reference"]
	sub := tx.forSubscription(body)
	switch {
	case typ == "new":
		json["subscriptionReference"] = reference(rnd)
		json["owner"] = "id-" + hash(rnd)
		if known := tx.s.store.first(key{"email", str(obj(body, "customerDetails"), "email")}); known != nil {
			json["owner"], json["customer"] = known.json()["owner"], known.id
		}
	case sub == nil:
		return pendingOrder{}, refuse(http.StatusNotFound, "forSubscription: subscription not found")
	default:
		json["related"], json["subscriptionReference"] = sub.id, sub.json()["reference"]
		json["owner"], json["customer"] = sub.json()["owner"], sub.json()["customer"]
	}
	order, err := tx.Insert(Object{RecordType: TypeOrder, JSON: compact(json)})
	if err != nil {
		return pendingOrder{}, err
	}
	payload := cloneMap(order.JSON)
	return pendingOrder{order.ID, tx.route, tx.addEvent("order."+typ, "Order Received", str(json, "related"), payload)}, nil
}

// process carries an order out, with apply in place of Limio's own way if it is
// set, and notes how it ended. What goes wrong with an order is part of its
// state and not an error.
func (tx *Tx) process(queued pendingOrder, apply func(tx *Tx, sub string) error) error {
	e := tx.s.store.entries[queued.id]
	if e == nil {
		return nil // deleted while it waited
	}
	order := e.json()
	p := &placed{
		id: queued.id, body: order, sub: str(order, "related"),
		number: str(order, "subscriptionReference"), owner: str(order, "owner"),
	}
	typ := str(order, "order_type")
	failure := tx.doom()
	switch do := orderTypes[typ]; {
	case failure != nil:
	case typ != "new" && tx.s.store.entries[p.sub] == nil:
		failure = refuse(http.StatusNotFound, "subscription %s is gone", p.sub)
	case apply != nil:
		failure = apply(tx, p.sub)
	case do != nil:
		failure = do(tx, p)
	}
	_, err := tx.Update(p.id, func(json map[string]any) {
		json["orderState"], json["status"] = "complete", "complete"
		if failure != nil {
			json["orderState"], json["status"] = "failed", "failed"
		}
		if sub := tx.s.store.entries[p.sub]; sub != nil {
			json["related"], json["customer"], json["owner"] = p.sub, sub.json()["customer"], sub.json()["owner"]
		}
	})
	tx.addProcessEvent(queued.event, p.sub, "order-"+typ, "Order complete", failure)
	return err
}

// doom returns how the order at hand must fail, or nil.
func (tx *Tx) doom() error {
	if len(tx.s.doomed) == 0 {
		return nil
	}
	failure := tx.s.doomed[0]
	tx.s.doomed = tx.s.doomed[1:]
	return failure
}

// FailOrders makes the next n orders that are carried out fail with a message:
// a critical plugin of theirs does not pass. They are stored, have nothing done
// for them, and are answered with 200.
func (s *Server) FailOrders(n int, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.doomed = append(s.doomed, errors.New(message))
	}
}

// OrdersByExternalID returns the orders with an external id, oldest first:
// Limio notices none of them for being the second.
func (s *Server) OrdersByExternalID(id string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return objects(s.store.find(key{"external_id", id}))
}

// ProcessOrders carries out every queued order, oldest first, and returns how
// many there were.
func (s *Server) ProcessOrders() (n int) {
	_ = s.change(ByOrder, "", func(tx *Tx) error {
		queue := s.orders
		s.orders = nil
		for _, p := range queue {
			tx.route = p.route
			_ = tx.process(p, nil) // its end is in the order
		}
		n = len(queue)
		return nil
	})
	return n
}

// OrderParams describe an order that somebody placed in Limio.
type OrderParams struct {
	Subscription string // "sub-…"; empty for Type "new"
	Type         string // an order_type, such as "cancel_subscription"
	Source       string // "shop", "salesforce" or another word
	// InitiatedSource is where the order began; empty is Source.
	InitiatedSource string
	ExternalID      string
	// Body holds more of the request, such as orderItems, customerDetails
	// or payment.
	Body map[string]any
	// Apply, if set, takes the place of what Limio does for an order of this
	// type on its own. It must not call the Server.
	Apply func(tx *Tx, sub string) error
}

// PlaceOrder stores an order, carries it out at once and returns it. An order
// that could not be carried out has orderState "failed"; the error is for
// orders that are not accepted.
func (s *Server) PlaceOrder(p OrderParams) (order Object, err error) {
	submitted, err := s.SubmitOrder(p)
	if err != nil {
		return Object{}, err
	}
	return submitted.CarryOut(p.Apply)
}

// Submitted is an order that Limio holds and has not carried out yet: its
// orchestration is busy with the other systems.
type Submitted struct {
	server *Server
	queued pendingOrder
}

// SubmitOrder stores an order in state "submitted".
func (s *Server) SubmitOrder(p OrderParams) (*Submitted, error) {
	body := cloneMap(p.Body)
	body["order_type"], body["source"] = p.Type, p.Source
	body["initiated_source"] = orElse(p.InitiatedSource, p.Source)
	if p.ExternalID != "" {
		body["external_id"] = p.ExternalID
	}
	if p.Subscription != "" {
		body["forSubscription"] = map[string]any{"id": p.Subscription}
	}
	if p.Apply == nil {
		if err := s.checkOrder(body, true); err != nil {
			return nil, err
		}
	} else if _, ok := orderTypes[p.Type]; !ok || p.Type == "new" {
		return nil, refuse(http.StatusBadRequest, "order type %q cannot be placed with Apply", p.Type)
	}
	out := &Submitted{server: s}
	err := s.change(ByOrder, "", func(tx *Tx) (err error) {
		out.queued, err = tx.accept(body)
		return err
	})
	return out, err
}

// CarryOut brings Limio's own records up to date and completes the order. Apply,
// if not nil, takes the place of what Limio does on its own.
func (o *Submitted) CarryOut(apply func(tx *Tx, sub string) error) (order Object, err error) {
	err = o.server.change(ByOrder, "", func(tx *Tx) error {
		if err := tx.process(o.queued, apply); err != nil {
			return err
		}
		order, _ = tx.Get(o.queued.id)
		return nil
	})
	return order, err
}
