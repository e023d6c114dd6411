package clickhouse

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between the store and the server, and fails on demand.
type proxy struct {
	listener net.Listener
	target   string
	tasks    sync.WaitGroup

	mu      sync.Mutex
	mode    string // "", "away", "mute"
	muted   int    // connections cut when their answer came
	clients map[net.Conn]bool
}

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{listener: l, target: target, clients: map[net.Conn]bool{}}
	p.tasks.Go(p.serve)
	tb.Cleanup(func() {
		_ = l.Close()
		p.set("away")
		p.tasks.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// set changes the mode: away closes every connection and takes none, mute
// closes a connection instead of passing on what the server answers.
func (p *proxy) set(mode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
	if mode == "away" {
		for c := range p.clients {
			_ = c.Close()
		}
	}
}

func (p *proxy) cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.muted
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		away := p.mode == "away"
		if !away {
			p.clients[client] = true
		}
		p.mu.Unlock()
		server, err := net.Dial("tcp", p.target)
		if away || err != nil {
			_ = client.Close()
			if server != nil {
				_ = server.Close()
			}
			continue
		}
		p.tasks.Go(func() { p.ask(server.(*net.TCPConn), client) })
		p.tasks.Go(func() { p.answer(client, server) })
	}
}

// ask passes on what the client says. When the client is gone the server is
// told so in good order: the embedded engine dies of a connection that is
// reset at the wrong moment, a server of the same version does not.
func (p *proxy) ask(server *net.TCPConn, client net.Conn) {
	_, _ = io.Copy(server, client)
	_ = server.CloseWrite()
}

// answer passes on what the server says, and reads it to its end even when
// nobody wants it.
func (p *proxy) answer(client, server net.Conn) {
	defer func() { _ = server.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 {
			p.mu.Lock()
			mute := p.mode == "mute" && n < 2000 // the end of an insert, not a table's header
			if mute && p.clients[client] {
				p.muted++
				delete(p.clients, client)
			}
			p.mu.Unlock()
			if mute {
				_ = client.Close()
			}
			_, _ = client.Write(buf[:n])
		}
		if err != nil {
			_ = client.Close()
			return
		}
	}
}
