// Package limio reads and writes the objects that Limio keeps. It promises that
// a write is one call, sent once: whatever happens, it is never repeated here
// (a 401, which Limio answers before it acts, excepted), and when its answer was
// lost the error says so (fault.UnknownOutcome).
//
// What Limio leaves undocumented is listed, with numbers, in
// docs/limio-assumptions.md; this package relies on nothing else.
//
// # The parts
//
//	c, err := limio.New(limio.Config{BaseURL: "https://acme.prod.limio.com", ClientID: id, ClientSecret: s})
//	defer c.Close()                               idle connections only
//	c.Subscription(ctx, id)                       ([]record.Object, error): itself first, then related; 2 calls
//	c.SubscriptionByNumber(ctx, number)           (record.Object, error): by Zuora number; 1 call
//	c.CustomerByAccount(ctx, zuoraAccountID)      (record.Object, error): 1 call
//	c.Customer(ctx, id)                           ([]record.Object, error): itself first, then related; 2 calls
//	c.Related(ctx, subscriptionID)                ([]record.Object, error): 1 call
//	c.List(ctx, type, cursor)                     ([]record.Object, next string, error): a page of 100 summaries; 1 call
//	c.Apply(ctx, write)                           (id string, error): 1 call
//	c.SendOrder(ctx, externalID, order)           (record.PlacedOrder, error): what Apply does for an order; 1 call
//	c.Order(ctx, id)                              (record.PlacedOrder, error): what became of it; 2 calls
//	c.OrderByExternalID(ctx, externalID, since)   (record.PlacedOrder, found bool, error): reads the list of orders
//	c.SubscriptionOfOrder(ctx, placed)            (sub-… string, error): 0 or 1 call
//	c.SubscriptionByReference(ctx, reference)     (record.Object, found bool, error): reads the list of subscriptions
//	c.Ping(ctx)                                   error: nil when a token can be had
//
// # Objects
//
// Parent is the Limio id that an object hangs on: of a subscription (sub-…)
// when it has one, else of its customer (cus-…). Ref is the natural key:
//
//	subscription        reference, else name: the Zuora number
//	identity            service/issuer/type/value
//	payment_method      data.zuora.result.Id or data.stripe.result.id
//	address             relationship_type: billing, delivery
//	subscription_offer  data.external_id
//	schedule            data.external_id
//	customer, order     the id
//
// Fields holds every scalar of the object by its dotted path, numbers as they
// were written. Arrays, empty objects and keys that hold a dot are left out.
package limio
