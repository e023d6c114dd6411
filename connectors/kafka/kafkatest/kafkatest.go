// Package kafkatest gives tests a Kafka: a fake one in the same process, or a
// real Apache Kafka when HOTSYNC_TEST_KAFKA holds its address. It promises that
// the same test runs against both, and that what it starts is gone afterwards.
//
//	go run ./connectors/kafka/kafkatest/cmd/real-kafka -- go test ./connectors/kafka/...
//
// fetches Kafka once, starts it on free loopback ports, sets the variable and
// runs the command.
package kafkatest

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Env names the variable that holds the address of a real broker.
const Env = "HOTSYNC_TEST_KAFKA"

// Real reports whether tests run against a real broker. A test that injects
// faults takes Fake in any case.
func Real() bool { return os.Getenv(Env) != "" }

// Broker returns host:port of a broker for one test: the real one, which is
// shared, so that names must come from Name, or a fake one of its own.
func Broker(tb testing.TB) string {
	tb.Helper()
	if addr := os.Getenv(Env); addr != "" {
		return addr
	}
	return Fake(tb).ListenAddrs()[0]
}

// Fake starts a fake broker that ends with the test. Topics are not created by
// being asked for.
func Fake(tb testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	tb.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		tb.Fatalf("start a fake broker: %v", err)
	}
	tb.Cleanup(c.Close)
	return c
}

// Name returns a name that no other test and no earlier run has used.
func Name(prefix string) string {
	return prefix + "-" + strings.ToLower(rand.Text()[:10])
}
