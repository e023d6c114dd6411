package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Server is a running Apache Kafka: one node, broker and controller, in KRaft
// mode on loopback ports, with its data in a temporary folder.
type Server struct {
	// Addr is the broker's host:port.
	Addr string

	dir     string
	cmd     *exec.Cmd
	exited  chan struct{}
	waitErr error
}

const (
	startLimit = 60 * time.Second
	stopLimit  = 20 * time.Second
)

// Start starts Kafka from the jars in libs (Fetch) and waits until it answers.
// The caller stops it.
func Start(ctx context.Context, libs string) (*Server, error) {
	dir, err := os.MkdirTemp("", "hotsync-kafka-")
	if err != nil {
		return nil, fmt.Errorf("make kafka's data folder: %w", err)
	}
	s := &Server{dir: dir, exited: make(chan struct{})}
	if err := s.start(ctx, libs); err != nil {
		return nil, errors.Join(fmt.Errorf("start kafka: %w", err), s.Stop())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, libs string) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	s.Addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
	config := filepath.Join(s.dir, "server.properties")
	if err := os.WriteFile(config, []byte(properties(ports[0], ports[1], filepath.Join(s.dir, "data"))), 0o600); err != nil {
		return err
	}
	classes := filepath.Join(libs, "*")
	format := exec.CommandContext(ctx, "java", "-Xmx256m", "-cp", classes, "kafka.tools.StorageTool", "format", "-t", clusterID(), "-c", config)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format its storage: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	log, err := os.Create(filepath.Join(s.dir, "kafka.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", classes, "kafka.Kafka", config)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: an interrupt from the terminal reaches the command that
	// uses Kafka first, and Kafka only through Stop.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	go func() {
		s.waitErr = cmd.Wait()
		close(s.exited)
	}()
	return s.awaitReady(ctx)
}

// awaitReady waits until the broker answers and has itself as the controller.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = s.ask(ctx); last == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it exited: %w\n%s", s.waitErr, s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s: %w\n%s", startLimit, last, s.logTail())
		case <-tick.C:
		}
	}
}

func (s *Server) ask(ctx context.Context) error {
	conn, err := kafkago.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Controller()
	return err
}

// Stop ends Kafka, first politely, and removes its data. It may be called again.
func (s *Server) Stop() error {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone
		limit := time.NewTimer(stopLimit)
		defer limit.Stop()
		select {
		case <-s.exited:
		case <-limit.C:
			_ = s.cmd.Process.Kill()
			<-s.exited
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove kafka's data: %w", err)
	}
	return nil
}

func (s *Server) logTail() string {
	f, err := os.Open(filepath.Join(s.dir, "kafka.log"))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > 4000 {
		_, _ = f.Seek(-4000, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	return strings.TrimSpace(string(b))
}

// properties configures one node that is quick to start and to rebalance.
func properties(broker, controller int, data string) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%[3]s
auto.create.topics.enable=false
default.replication.factor=1
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=1048588
`, broker, controller, data)
}

// clusterID is 16 random bytes as Kafka writes a Uuid. A leading dash would be
// taken for an option.
func clusterID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // after all are taken, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
