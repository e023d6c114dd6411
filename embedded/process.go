package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// process is one run of the child.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer // held open for as long as the child shall live
	tail  *tailWriter
	done  chan struct{} // closed once the child is gone
	err   error         // how it ended; read after done
}

// launch starts the child on the engine's ports and waits until it answers.
func (e *Engine) launch(ctx context.Context) (*process, error) {
	token := rand.Text()
	raw, err := e.cfg.render(e.ports, token)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(e.cfg.DataDir, "engine.xml")
	if err := writeSynced(file, raw); err != nil {
		return nil, fmt.Errorf("write engine configuration: %w", err)
	}
	p, err := e.spawn(file)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.waitReady(ctx, e.ports, token); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (e *Engine) spawn(config string) (*process, error) {
	args := []string{EngineVerb, "-config", config}
	if e.cfg.Binary != "" {
		args = append(args, "-server", e.cfg.Binary)
	} else {
		args = append(args, "-library", e.lib)
	}
	p := &process{cmd: exec.Command(e.cfg.SelfExe, args...), tail: &tailWriter{next: e.cfg.Log}, done: make(chan struct{})}
	p.cmd.Dir = e.cfg.DataDir
	p.cmd.Env = engineEnv(os.Environ())
	p.cmd.Stdout, p.cmd.Stderr = p.tail, p.tail
	p.cmd.ExtraFiles = []*os.File{e.lock}
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.WaitDelay = 2 * time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open the engine's standard input: %w", err)
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start engine process: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// engineEnv is what the engine may know. It gets no other variable: the
// environment is where hotsync's own secrets are.
func engineEnv(all []string) []string {
	env := []string{"TZ=UTC"}
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "PATH", "HOME", "TMPDIR", "LANG", "GOCOVERDIR", "GORACE":
			env = append(env, kv)
		}
	}
	return env
}

// readyPoll is how often a starting engine is asked whether it is ready.
const readyPoll = 20 * time.Millisecond

// waitReady returns when both ports answer, or with what the child said when
// it ended instead.
func (p *process) waitReady(ctx context.Context, ports enginePorts, token string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if answers(ctx, client, ports, token) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("engine ended at start (%w): %s", p.ended(), p.tail)
		case <-ctx.Done():
			return fmt.Errorf("engine does not answer on %s: %w: %s", loopback(ports.http), context.Cause(ctx), p.tail)
		case <-tick.C:
		}
	}
}

// answers reports whether the engine of this very start serves both ports.
func answers(ctx context.Context, client *http.Client, ports enginePorts, token string) bool {
	target := url.URL{
		Scheme: "http", Host: loopback(ports.http), Path: "/",
		RawQuery: url.Values{"query": {"SELECT getMacro('hotsync_start')"}}.Encode(),
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 256))
	if err != nil || resp.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != token {
		return false
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", loopback(ports.tcp))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// ended is how the child ended, never nil. Call it after done.
func (p *process) ended() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// stop closes the child's standard input and waits for its end; when ctx ends
// first, the child is killed.
func (p *process) stop(ctx context.Context) error {
	_ = p.stdin.Close()
	select {
	case <-p.done:
		return nil // also when it had died before: it is gone
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("killed, it did not stop by itself: %w", context.Cause(ctx))
	}
}

// kill ends the child at once and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.stdin.Close()
	<-p.done
}

// tailWriter passes writes on and remembers the last of them for an error.
type tailWriter struct {
	next io.Writer
	mu   sync.Mutex
	last []byte
}

const tailBytes = 2 << 10

// Write implements io.Writer.
func (t *tailWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if extra := len(t.last) - tailBytes; extra > 0 {
		t.last = append(t.last[:0], t.last[extra:]...)
	}
	if t.next != nil {
		// A log that cannot be written must not stop the engine.
		_, _ = t.next.Write(b)
	}
	return len(b), nil
}

// String is what was written last.
func (t *tailWriter) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == 0 {
		return "it printed nothing"
	}
	return strings.TrimSpace(string(t.last))
}
