package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	// segmentBytes is the size at which a log file is closed and the next
	// one begun; old records go a whole file at a time.
	segmentBytes = 64 << 20
	// compactAbove is the size from which a compacted topic is worth
	// rewriting at start.
	compactAbove = 16 << 20
)

// topicFile is the part of the broker's topics.json that tidying needs.
// The broker's format version is 1 (kfake, persist.go).
type topicFile struct {
	Version int         `json:"version"`
	Topics  []topicMeta `json:"topics"`
}

type topicMeta struct {
	Name       string            `json:"name"`
	ID         json.RawMessage   `json:"id"`
	Partitions int               `json:"partitions"`
	Replicas   int               `json:"replicas"`
	Configs    map[string]string `json:"configs,omitempty"`
}

func (t topicMeta) compacted() bool { return strings.Contains(t.Configs["cleanup.policy"], "compact") }

// retention is how long records are kept; false means for ever.
func (t topicMeta) retention() (time.Duration, bool) {
	ms, err := strconv.ParseInt(t.Configs["retention.ms"], 10, 64)
	if err != nil || ms < 0 || ms >= forever {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}

// partitionDirs are the folders of the topic's partitions under log.
func (t topicMeta) partitionDirs() []string {
	dirs := make([]string, t.Partitions)
	for p := range dirs {
		dirs[p] = fmt.Sprintf("%s-%d", url.PathEscape(t.Name), p)
	}
	return dirs
}

// housekeeper applies retention and compaction to a log that no broker has
// open, such that a kill at any instant loses nothing.
type housekeeper struct {
	log     string // the broker's data
	scratch string // where compaction builds its result; on the same disk
	now     func() time.Time
	above   int64
}

func housekeeperOf(dataDir string, now func() time.Time, above int64) housekeeper {
	return housekeeper{log: logDir(dataDir), scratch: filepath.Join(dataDir, "compacting"), now: now, above: above}
}

// logDir is where the broker keeps its data under BrokerConfig.DataDir.
func logDir(dataDir string) string { return filepath.Join(dataDir, "log") }

// run finishes an interrupted compaction, drops expired segments and compacts
// topics that have grown.
func (h housekeeper) run() error {
	if err := h.finish(); err != nil {
		return fmt.Errorf("finish interrupted compaction: %w", err)
	}
	topics, err := h.topics()
	if err != nil {
		return err
	}
	var grown []topicMeta
	for _, t := range topics.Topics {
		if keep, ok := t.retention(); ok && !t.compacted() {
			if err := h.expire(t, keep); err != nil {
				return fmt.Errorf("drop expired records of %s: %w", t.Name, err)
			}
		}
		if t.compacted() && h.size(t) > h.above {
			grown = append(grown, t)
		}
	}
	if len(grown) == 0 {
		return nil
	}
	if err := h.compact(topicFile{Version: topics.Version, Topics: grown}); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return h.finish()
}

func (h housekeeper) topics() (topicFile, error) {
	var f topicFile
	raw, err := os.ReadFile(filepath.Join(h.log, "topics.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("read topics: %w", err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("read topics: %w", err)
	}
	return f, nil
}

func (h housekeeper) partition(dir string) string { return filepath.Join(h.log, "partitions", dir) }

func (h housekeeper) size(t topicMeta) int64 {
	var n int64
	for _, dir := range t.partitionDirs() {
		segments, err := readSegments(h.partition(dir))
		if err != nil {
			continue // the broker says it better when it loads
		}
		for _, s := range segments {
			n += s.size
		}
	}
	return n
}

// expire removes segments last written longer ago than keep, oldest first.
// The newest stays whatever its age: the broker reads a partition's end offset
// from it, and without it would start again at 0, below committed offsets.
func (h housekeeper) expire(t topicMeta, keep time.Duration) error {
	for _, dir := range t.partitionDirs() {
		segments, err := readSegments(h.partition(dir))
		if err != nil {
			return err
		}
		for i, s := range segments {
			if i == len(segments)-1 || h.now().Sub(s.written) < keep {
				break
			}
			name := filepath.Join(h.partition(dir), strconv.FormatInt(s.base, 10))
			if err := os.Remove(name + ".dat"); err != nil {
				return err
			}
			if err := os.Remove(name + ".idx"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

type segment struct {
	base    int64
	size    int64
	written time.Time
}

// readSegments lists a partition's segments by base offset. A partition that
// was never written has none.
func readSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name(), ".dat")
		base, err := strconv.ParseInt(stem, 10, 64)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		segments = append(segments, segment{base, info.Size(), info.ModTime()})
	}
	slices.SortFunc(segments, func(a, b segment) int { return int(min(1, max(-1, a.base-b.base))) })
	return segments, nil
}

// compact has a broker that nobody knows compact links to the grown topics,
// and marks the result ready. The log itself is not touched.
func (h housekeeper) compact(grown topicFile) error {
	log := filepath.Join(h.scratch, "log")
	if err := os.MkdirAll(filepath.Join(log, "partitions"), 0o700); err != nil {
		return err
	}
	meta, err := os.ReadFile(filepath.Join(h.log, "meta.json"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(log, "meta.json"), meta, 0o600); err != nil {
		return err
	}
	topics, err := json.Marshal(grown)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(log, "topics.json"), topics, 0o600); err != nil {
		return err
	}
	for _, t := range grown.Topics {
		for _, dir := range t.partitionDirs() {
			if err := linkFiles(h.partition(dir), filepath.Join(log, "partitions", dir)); err != nil {
				return fmt.Errorf("link %s: %w", dir, err)
			}
		}
	}
	if err := compactLog(log); err != nil {
		return err
	}
	return writeSynced(filepath.Join(h.scratch, "ready"), nil)
}

// linkFiles gives to the same files as from. The broker replaces files when it
// compacts and never writes into old ones, so the originals stay as they are.
func linkFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func compactLog(log string) error {
	warned := new(complaints)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(log), kfake.SyncWrites(), kfake.WithLogger(warned),
		kfake.BrokerConfigs(map[string]string{"log.retention.ms": "-1", "log.segment.bytes": strconv.Itoa(segmentBytes)}))
	if err != nil {
		return err
	}
	cluster.Compact()
	cluster.Close()
	// The broker reports a full disk in its log only. An incomplete result
	// must not replace the original.
	if first := warned.first.Load(); first != nil {
		return errors.New(*first)
	}
	return nil
}

// complaints keeps the first warning or error that a broker logs.
type complaints struct{ first atomic.Pointer[string] }

// Logf implements kfake.Logger.
func (c *complaints) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelNone || level > kfake.LogLevelWarn {
		return
	}
	msg := fmt.Sprintf(format, args...)
	c.first.CompareAndSwap(nil, &msg)
}

// finish puts a ready compaction in place, one partition at a time, and drops
// one that is not ready. A partition still in scratch is one not yet placed,
// so running it again after a kill continues where it stopped.
func (h housekeeper) finish() error {
	if _, err := os.Stat(filepath.Join(h.scratch, "ready")); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.RemoveAll(h.scratch)
	}
	compacted := filepath.Join(h.scratch, "log", "partitions")
	entries, err := os.ReadDir(compacted)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(h.partition(e.Name())); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(compacted, e.Name()), h.partition(e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(h.scratch)
}

// writeSynced writes a file that is whole or absent after a crash.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
