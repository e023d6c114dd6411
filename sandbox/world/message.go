package world

import "time"

// The topics of a Message, as short names: the caller knows the real ones.
const (
	TopicLogins = "logins"
	TopicStripe = "stripe"
)

// Message is a Kafka message to be produced. A nil Key is no key.
type Message struct {
	Topic      string // TopicLogins or TopicStripe
	Key, Value []byte
	Headers    map[string]string
}

// Step is something that happened in the world.
type Step struct {
	// Messages tell of it, in the order in which they were made.
	Messages []Message
	// Next, if not nil, is what happens After that much time by itself, such as
	// Limio finishing an order. It is called exactly once.
	Next  func() (Step, error)
	After time.Duration
}

// Produced counts what a Run made.
type Produced struct {
	Logins int // messages on TopicLogins, poison included
	Stripe int // messages on TopicStripe, poison included
	Orders int // orders placed in the shop and in Salesforce
	Poison int // messages that nobody can read or believe
	Lost   int // webhooks that never arrived (Config.Lose)
}

// Messages is the number of messages on both topics.
func (p Produced) Messages() int { return p.Logins + p.Stripe }
