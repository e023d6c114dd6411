package kafka

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

const (
	mechanismPlain  = "plain"
	mechanismSHA256 = "scram-sha-256"
	mechanismSHA512 = "scram-sha-512"
)

// Client is a cluster. It is safe for many goroutines. Its connections are made
// when first needed and closed by Close.
type Client struct {
	cfg       Config
	addr      net.Addr
	dialer    *kafkago.Dialer
	dial      func() *kafkago.Transport
	transport *kafkago.Transport // control: metadata, commits, produce

	mu     sync.Mutex
	loose  map[*kafkago.Transport]struct{} // those handed out by newTransport
	closed bool
}

// New returns a client of the cluster that cfg names. It reads the TLS files
// and dials nothing. The error names every problem of cfg.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	tlsConfig, err := cfg.TLS.config()
	if err != nil {
		return nil, err
	}
	var mech sasl.Mechanism
	if cfg.SASL.Mechanism != "" {
		mech = mechanism{cfg.SASL}
	}
	c := &Client{
		cfg:   cfg,
		addr:  kafkago.TCP(cfg.Brokers...),
		loose: map[*kafkago.Transport]struct{}{},
		dialer: &kafkago.Dialer{
			ClientID: cfg.ClientID, Timeout: cfg.DialTimeout, DualStack: true, TLS: tlsConfig, SASLMechanism: mech,
		},
	}
	c.dial = func() *kafkago.Transport {
		return &kafkago.Transport{
			ClientID: cfg.ClientID, DialTimeout: cfg.DialTimeout, MetadataTTL: cfg.MetadataTTL, TLS: tlsConfig, SASL: mech,
		}
	}
	c.transport = c.dial()
	return c, nil
}

// Close closes all connections of the client. Consumers, followers and writers
// are stopped before it.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for t := range c.loose {
		t.CloseIdleConnections()
	}
	clear(c.loose)
	c.transport.CloseIdleConnections()
}

// newTransport returns a set of connections of its own, so that a reader can
// throw a broken one away. The caller gives it back with drop.
func (c *Client) newTransport() *kafkago.Transport {
	t := c.dial()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.loose[t] = struct{}{}
	}
	return t
}

func (c *Client) drop(t *kafkago.Transport) {
	c.mu.Lock()
	delete(c.loose, t)
	c.mu.Unlock()
	t.CloseIdleConnections()
}

// api returns kafka-go's client over the given connections.
func (c *Client) api(t *kafkago.Transport) *kafkago.Client {
	return &kafkago.Client{Addr: c.addr, Transport: t, Timeout: c.cfg.RequestTimeout}
}

func (c *Client) control() *kafkago.Client { return c.api(c.transport) }

// Ping asks a broker which requests it understands: a connection with its
// handshakes and one round trip.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout+c.cfg.RequestTimeout)
	defer cancel()
	t := c.newTransport()
	defer c.drop(t)
	res, err := c.api(t).ApiVersions(ctx, &kafkago.ApiVersionsRequest{})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return fmt.Errorf("ping kafka at %s: %w", c.addr, err)
	}
	return nil
}

// mechanism makes the credentials of one connection when it is dialled.
type mechanism struct{ cfg SASL }

// Name implements sasl.Mechanism.
func (m mechanism) Name() string {
	switch m.cfg.Mechanism {
	case mechanismSHA256:
		return scram.SHA256.Name()
	case mechanismSHA512:
		return scram.SHA512.Name()
	}
	return plain.Mechanism{}.Name()
}

// Start implements sasl.Mechanism.
func (m mechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	user, pass := m.cfg.Username, m.cfg.Password.Reveal()
	algo := scram.SHA256
	switch m.cfg.Mechanism {
	case mechanismPlain:
		return plain.Mechanism{Username: user, Password: pass}.Start(ctx)
	case mechanismSHA512:
		algo = scram.SHA512
	}
	inner, err := scram.Mechanism(algo, user, pass)
	if err != nil {
		return nil, nil, fmt.Errorf("prepare %s credentials: %w", m.cfg.Mechanism, err)
	}
	return inner.Start(ctx)
}

// retry calls fn until it succeeds, fails for good, or limit or ctx is over;
// the pauses grow from 50 ms to a second.
func retry(ctx context.Context, limit time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := fn(ctx)
		if err == nil || !temporary(err) {
			return err
		}
		if !sleep(ctx, pause) {
			return err
		}
	}
}

// sleep waits for d and reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
