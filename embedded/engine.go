package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// EngineConfig says where a ClickHouse engine lives. Only DataDir is required.
type EngineConfig struct {
	// DataDir is the folder for tables. It is created when missing and
	// belongs to one engine at a time.
	DataDir string
	// CacheDir is where the engine library is kept between starts; empty
	// means DefaultCacheDir. Not used with Binary.
	CacheDir string
	// HTTPPort and TCPPort (native protocol) on 127.0.0.1; 0 takes a free one.
	HTTPPort, TCPPort int
	// Binary is a clickhouse binary that serves instead of the library, such
	// as FindServer returns; empty means the library.
	Binary string
	// SelfExe is a program that calls EngineMain for EngineVerb; empty means
	// the running one.
	SelfExe string
	// MemoryLimit is what the engine may use, in bytes; 0 means 2 GiB. Half
	// of the machine's memory is the limit when that is less.
	MemoryLimit int64
	// NoSync leaves it to the operating system when an insert reaches the
	// disk. An insert then survives a kill -9, but not a power cut. For tests.
	NoSync bool
	// Log receives what the engine prints; nil drops it. Errors of a failed
	// start are in the error of StartClickHouse in any case.
	Log io.Writer
	// Progress is told about the one download; nil is not told. See Fetch.
	Progress func(done, total int64)
}

const (
	startTimeout = 60 * time.Second // a cold disk reads a 566 MB library
	closeTimeout = 20 * time.Second
	lockWait     = 10 * time.Second // an engine whose parent was killed needs a moment to end
	portAttempts = 5
)

// Engine is a ClickHouse server in a child process.
type Engine struct {
	cfg   EngineConfig
	lib   string
	ports enginePorts
	lock  *os.File
	free  func(n int) ([]int, error)

	mu      sync.Mutex
	current *process
	closed  bool
}

type enginePorts struct{ http, tcp int }

// StartClickHouse starts an engine and returns once it answers queries. It
// fetches the library first if it is not in the cache; ErrNoNPM, ErrIntegrity,
// ErrUnsupported and ErrInUse are the errors to expect. Tables belong in a
// database of their own: the library keeps nothing that is in `default`.
func StartClickHouse(ctx context.Context, cfg EngineConfig) (*Engine, error) {
	e, err := prepareEngine(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start clickhouse: %w", err)
	}
	if err := e.startOnFreePorts(ctx); err != nil {
		_ = e.lock.Close()
		return nil, fmt.Errorf("start clickhouse with data in %s: %w", e.cfg.DataDir, err)
	}
	return e, nil
}

func prepareEngine(ctx context.Context, cfg EngineConfig) (*Engine, error) {
	if cfg.DataDir == "" {
		return nil, errors.New("DataDir is empty")
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	cfg.DataDir = dir
	if cfg.SelfExe == "" {
		if cfg.SelfExe, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find own program: %w", err)
		}
	}
	e := &Engine{cfg: cfg, free: freePorts}
	if cfg.Binary == "" {
		if e.lib, err = Fetch(ctx, FetchConfig{CacheDir: cfg.CacheDir, Progress: cfg.Progress}); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	// The engine inherits this lock, so it is free only when both are gone.
	if e.lock, err = waitLock(wait, filepath.Join(dir, "engine.lock")); err != nil {
		return nil, fmt.Errorf("data folder %s: %w: stop the other hotsync or give this one its own folder", dir, err)
	}
	return e, nil
}

// startOnFreePorts starts the engine, choosing again when somebody else took
// a chosen port first. Ports that were asked for are not negotiable.
func (e *Engine) startOnFreePorts(ctx context.Context) error {
	for _, port := range []int{e.cfg.HTTPPort, e.cfg.TCPPort} {
		if port != 0 && !portFree(port) {
			return fmt.Errorf("%s: %w: choose another port, or 0 for any free one", loopback(port), ErrInUse)
		}
	}
	var last error
	for range portAttempts {
		free, err := e.free(2)
		if err != nil {
			return err
		}
		e.ports = enginePorts{http: e.cfg.HTTPPort, tcp: e.cfg.TCPPort}
		if e.ports.http == 0 {
			e.ports.http = free[0]
		}
		if e.ports.tcp == 0 {
			e.ports.tcp = free[1]
		}
		e.current, last = e.launch(ctx)
		if last == nil {
			return nil
		}
		if ctx.Err() != nil || portFree(e.ports.http) && portFree(e.ports.tcp) {
			return last // not a matter of ports
		}
	}
	return last
}

// Addr is host:port of the native protocol, for clickhouse.addr.
func (e *Engine) Addr() string { return loopback(e.ports.tcp) }

// HTTPAddr is host:port of the HTTP interface.
func (e *Engine) HTTPAddr() string { return loopback(e.ports.http) }

// PID is the process id of the engine that runs now.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current.cmd.Process.Pid
}

// Done is closed when the engine that runs now has ended, for whatever reason.
func (e *Engine) Done() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current.done
}

// Run keeps the engine running until ctx ends: when it dies it is started
// again on the same ports with the same data, after a pause that grows up to
// half a minute while it keeps dying. Run does not close the engine.
func (e *Engine) Run(ctx context.Context) error {
	const first, most = 200 * time.Millisecond, 30 * time.Second
	pause := first
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.Done():
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, most)
		if err := e.relaunch(ctx); err != nil {
			if errors.Is(err, errClosed) || ctx.Err() != nil {
				return nil
			}
			e.print(fmt.Sprintf("restart clickhouse: %v\n", err))
			continue
		}
		pause = first
	}
}

var errClosed = errors.New("engine is closed")

// relaunch starts a new process in the place of one that ended. It gives up
// the lock while it waits, so that Close need not wait for a slow start.
func (e *Engine) relaunch(ctx context.Context) error {
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return errClosed
	}
	p, err := e.launch(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		p.kill()
		return errClosed
	}
	e.current = p
	return nil
}

// Close ends the engine: it is asked to stop, and killed when ctx ends or
// after 20 s. The data folder is free afterwards. Close the connections to it
// first: the library waits five seconds for open ones, and no setting of
// ClickHouse shortens that. Let Run return first, too.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	p := e.current
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	err := p.stop(ctx)
	if err := errors.Join(err, e.lock.Close()); err != nil {
		return fmt.Errorf("stop clickhouse: %w", err)
	}
	return nil
}

func (e *Engine) print(s string) {
	if e.cfg.Log != nil {
		_, _ = io.WriteString(e.cfg.Log, s)
	}
}
