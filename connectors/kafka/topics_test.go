package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"hotsync/connectors/kafka/kafkatest"
	"hotsync/internal/secret"
)

func TestEnsureTopicsCreatesAndAccepts(t *testing.T) {
	c := testClient(t)
	want := []Topic{
		{Name: kafkatest.Name("triggers"), Partitions: 3, Replication: 1, Retention: time.Hour, MaxMessageBytes: 2 << 20},
		{Name: kafkatest.Name("state"), Partitions: 2, Compacted: true, Retention: -1},
		{Name: kafkatest.Name("default")},
	}
	// Instances start together.
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := c.EnsureTopics(limited(t), want); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n, err := c.Partitions(limited(t), want[0].Name); err != nil || n != 3 {
		t.Errorf("%d partitions, %v, want 3", n, err)
	}
	high, err := c.HighWatermarks(limited(t), want[1].Name)
	if diff := cmp.Diff(map[int]int64{0: 0, 1: 0}, high); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestEnsureTopicsExplainsAWrongShape(t *testing.T) {
	c := testClient(t)
	name := makeTopic(t, c, Topic{Name: "events", Partitions: 2, MaxMessageBytes: 1 << 20})
	err := c.EnsureTopics(limited(t), []Topic{{Name: name, Partitions: 12, Compacted: true, MaxMessageBytes: 8 << 20}})
	if err == nil {
		t.Fatal("accepted")
	}
	var shape *ShapeError
	if !errors.As(err, &shape) || shape.Topic != name {
		t.Errorf("not a ShapeError of the topic: %v", err)
	}
	for _, want := range []string{"partitions is 2, want 12", "cleanup.policy is delete, want compact", "max.message.bytes is 1048576, want at least 8388608", "--add-config", "moves keys"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

// A new cluster has no leaders and no coordinator for a moment: a wait.
func TestNewClusterIsWaitedFor(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	cluster.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable, Count: 2},
		kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: 3},
	)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	have, err := c.Committed(limited(t), "nobody", topic)
	if err != nil || len(have) != 0 {
		t.Errorf("%v, %v, want no commits", have, err)
	}
}

func TestMissingTopic(t *testing.T) {
	c := testClient(t)
	if _, err := c.Partitions(limited(t), kafkatest.Name("none")); !errors.Is(err, ErrNoTopic) {
		t.Errorf("%v, want ErrNoTopic", err)
	}
}

func TestPing(t *testing.T) {
	if err := testClient(t).Ping(limited(t)); err != nil {
		t.Error(err)
	}
	nobody := newClient(t, Config{Brokers: []string{"127.0.0.1:1"}, DialTimeout: time.Second, RequestTimeout: time.Second})
	if err := nobody.Ping(limited(t)); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v, want an error that names the address", err)
	}
}

// A broker that asks for a client certificate gets the configured one, and
// nobody without it gets in.
func TestClientCertificate(t *testing.T) {
	pair, certFile, keyFile := selfSigned(t)
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	cluster := kafkatest.Fake(t, kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}))
	cfg := quick(cluster.ListenAddrs()[0])
	cfg.TLS = TLS{Enabled: true, CAFile: certFile, CertFile: certFile, KeyFile: keyFile}
	c := newClient(t, cfg)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	write(t, newWriter(t, c, WriterConfig{}), Record{Topic: topic, Value: []byte("v")})
	if got := readAll(t, c, topic); len(got) != 1 {
		t.Errorf("%d partitions were read", len(got))
	}
	cfg.TLS.CertFile, cfg.TLS.KeyFile = "", ""
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := newClient(t, cfg).Ping(ctx); err == nil {
		t.Error("a client without a certificate was let in")
	}
}

// selfSigned is a certificate for 127.0.0.1 that server and client may show, and
// its files.
func selfSigned(t *testing.T) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return pair, certFile, keyFile
}

func TestTLSAndSASL(t *testing.T) {
	server := httptest.NewUnstartedServer(nil) // for its certificate
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := kafkatest.Fake(t, kfake.TLS(&tls.Config{Certificates: server.TLS.Certificates}), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "p", "secret"), kfake.Superuser("SCRAM-SHA-256", "s256", "secret"), kfake.Superuser("SCRAM-SHA-512", "s512", "secret"))
	for _, tt := range []SASL{
		{Mechanism: "plain", Username: "p"}, {Mechanism: "scram-sha-256", Username: "s256"}, {Mechanism: "scram-sha-512", Username: "s512"},
	} {
		t.Run(tt.Mechanism, func(t *testing.T) {
			tt.Password = secret.New("secret")
			cfg := quick(cluster.ListenAddrs()[0])
			cfg.TLS, cfg.SASL = TLS{Enabled: true, CAFile: ca}, tt
			c := newClient(t, cfg)
			topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
			write(t, newWriter(t, c, WriterConfig{}), Record{Topic: topic, Value: []byte("v")})
			got := make(chan Record, 1)
			consume(t, c, ConsumerConfig{Group: "g-" + tt.Username, Topics: []string{topic}}, forEach(func(_ *Generation, _ *Assignment, r Record) { got <- r }))
			select {
			case <-got:
			case <-limited(t).Done():
				t.Fatal("nothing came through the group")
			}

			tt.Password = secret.New("wrong-one")
			cfg.SASL = tt
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := newClient(t, cfg).Ping(ctx)
			if err == nil || strings.Contains(err.Error(), "wrong-one") {
				t.Errorf("wrong password: %v", err)
			}
		})
	}
}
