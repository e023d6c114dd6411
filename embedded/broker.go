package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// BrokerConfig says where a broker lives. Only DataDir is required.
type BrokerConfig struct {
	// DataDir is the folder for records, offsets and topics. It is created
	// when missing and belongs to one process at a time.
	DataDir string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// ClusterID is what clients are told; empty means "hotsync".
	ClusterID string
	// NoSync leaves it to the operating system when a write reaches the disk.
	// Acknowledged records then survive a kill -9 of the process, but not a
	// power cut. For tests and demos.
	NoSync bool
	// MinSession is the shortest session time-out a group member may ask
	// for; 0 means 6 s, as in Apache Kafka.
	MinSession time.Duration
	// Log receives the broker's warnings, one line each; nil drops them.
	Log io.Writer
}

// Broker is a single Kafka broker inside this process.
type Broker struct {
	addr    string
	cluster *kfake.Cluster
	lock    *os.File
	close   sync.Once
}

// forever is longer than a laptop lives, in milliseconds: ten years.
const forever = 10 * 365 * 24 * 3600 * 1000

// StartBroker opens the data folder and listens. The errors to expect are
// ErrInUse for the folder or the port, and unreadable data.
func StartBroker(cfg BrokerConfig) (*Broker, error) {
	if cfg.DataDir == "" {
		return nil, errors.New("start broker: DataDir is empty")
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("start broker: create data folder: %w", err)
	}
	lock, ok, err := tryLock(filepath.Join(cfg.DataDir, "broker.lock"))
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("start broker: data folder %s: %w: stop the other hotsync or give this one its own folder", cfg.DataDir, ErrInUse)
	}
	b, err := openBroker(cfg, lock)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return b, nil
}

func openBroker(cfg BrokerConfig, lock *os.File) (*Broker, error) {
	log := logDir(cfg.DataDir)
	if err := housekeeperOf(cfg.DataDir, time.Now, compactAbove).run(); err != nil {
		return nil, fmt.Errorf("start broker: tidy %s: %w", log, err)
	}
	// Group members from before are gone with their process. The broker would
	// wait for each to time out before it lets others have its partitions.
	if err := os.Remove(filepath.Join(log, "session_state.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("start broker: forget group members: %w", err)
	}
	addr := loopback(cfg.Port)
	if cfg.Port != 0 && !portFree(cfg.Port) {
		return nil, fmt.Errorf("start broker: %s: %w: choose another port, or 0 for any free one", addr, ErrInUse)
	}
	cluster, err := kfake.NewCluster(brokerOptions(cfg, log)...)
	if err != nil {
		return nil, fmt.Errorf("start broker on %s with data in %s: %w", addr, cfg.DataDir, err)
	}
	return &Broker{addr: cluster.ListenAddrs()[0], cluster: cluster, lock: lock}, nil
}

func brokerOptions(cfg BrokerConfig, log string) []kfake.Opt {
	id := cfg.ClusterID
	if id == "" {
		id = "hotsync"
	}
	opts := []kfake.Opt{
		kfake.Ports(cfg.Port),
		kfake.ClusterID(id),
		kfake.DataDir(log),
		kfake.BrokerConfigs(map[string]string{
			// The broker's own cleaning removes segments before it has written
			// their successors, and forgets the end offset of a partition that
			// it emptied. Both would lose data on a kill -9 or a restart, so it
			// never runs; the housekeeper does the work before anybody connects.
			"log.cleaner.backoff.ms": strconv.Itoa(forever),
			"log.retention.ms":       "-1",
			"log.segment.bytes":      strconv.Itoa(segmentBytes),
			// A machine that was off for a week keeps its committed offsets.
			"offsets.retention.minutes": strconv.Itoa(forever / 60_000),
		}),
	}
	if !cfg.NoSync {
		opts = append(opts, kfake.SyncWrites())
	}
	if cfg.MinSession > 0 {
		opts = append(opts, kfake.GroupMinSessionTimeout(cfg.MinSession))
	}
	if cfg.Log != nil {
		opts = append(opts, kfake.WithLogger(kfake.BasicLogger(cfg.Log, kfake.LogLevelWarn)))
	}
	return opts
}

// Addr is host:port, for kafka.brokers.
func (b *Broker) Addr() string { return b.addr }

// Close stops listening, writes what is open and releases the data folder.
// Closing twice is the same as once.
func (b *Broker) Close() error {
	var err error
	b.close.Do(func() {
		b.cluster.Close()
		err = b.lock.Close()
	})
	return err
}
