// Package world is one company over the three simulators: accounts billed in
// Zuora, subscriptions billed in Stripe, both shown in Limio, with what happens
// to them on a busy day. It promises that whatever it changes in a billing
// system is announced by a later message, that it is the same world for the
// same seed (apart from timing), and that its verdict about the result is its
// own: Drift and Loops read the simulators' state and know no line of the
// program they judge.
//
// # Using it
//
//	w := world.New(world.Config{Seed: 1})
//	// serve w.ZuoraHandler(), w.StripeHandler(), w.LimioHandler(), w.JWKSHandler();
//	// configure the daemon with w.Credentials() and w.Providers()
//	made, err := w.Run(ctx, emit) // emit puts a Message into Kafka
//	// when the daemon is done:
//	w.Drift() // must be empty
//	w.Loops() // must be empty
//
// A test may instead take single steps (Login, RenewSubscription, ShopOrder, …).
// Each returns a Step: the messages that tell of it, to be sent at once and in
// order, and perhaps what happens later by itself. Poison has two megabytes now
// and then, so the topics and the producer must take that much.
//
// What passes for true is written at Drift and Loops.
//
// # The cast
//
// Zuora accounts with several accounts per login, one with more than 40
// subscriptions, evergreen ones, cancellations in the future, removed rate
// plans, several versions, no CRM id, external ids that are not unique or
// differ in case only, accounts Limio has never heard of, accounts migrated
// before that are equal, others that have drifted since, and one that Zuora
// refuses to show (equal and never changed, so that nothing is missing). Stripe subscriptions in
// euro, dollar and yen, with cards of their own, trials, by invoice, past due,
// with a deleted customer, without a link to Limio, and some whose id starts
// with ObservedPrefix, which the demo only observes. Limio holds subscriptions
// that it sold itself and some that were imported.
package world
