package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"hotsync/api"
)

// defaultAddr is where a daemon listens unless http.listen says otherwise.
const defaultAddr = "http://127.0.0.1:8484"

// addrFlag adds --addr to a verb and returns its value.
func addrFlag(cmd *cobra.Command) *string {
	addr := os.Getenv("HOTSYNC_ADDR")
	if addr == "" {
		addr = defaultAddr
	}
	return cmd.Flags().String("addr", addr, "where the daemon listens, also by HOTSYNC_ADDR")
}

// client speaks to a running daemon.
type client struct {
	base *url.URL
	http *http.Client
}

// newClient reads an address: a URL, or host:port.
func newClient(addr string) (*client, error) {
	text := addr
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") || strings.Trim(base.Path, "/") != "" {
		return nil, usage(fmt.Errorf("--addr %q is no address of a daemon; want one such as %s", addr, defaultAddr))
	}
	return &client{base: base, http: &http.Client{}}, nil
}

// get reads. The path is escaped already.
func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, out)
}

// post writes.
func (c *client) post(ctx context.Context, path string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	return c.call(ctx, http.MethodPost, path, nil, b, out)
}

func (c *client) call(ctx context.Context, method, path string, query url.Values, body []byte, out any) error {
	u, err := c.base.Parse(path)
	if err != nil {
		return fmt.Errorf("ask the daemon for %s: %w", path, err)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the daemon for %s: %w", path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var why *url.Error // its text begins with the address, which is said already
		if errors.As(err, &why) {
			err = why.Err
		}
		return environment(fmt.Errorf("no daemon answers at %s: %w; start one with hotsync run, or say where it listens (http.listen) with --addr or HOTSYNC_ADDR", c.base, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return c.refusal(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return environment(fmt.Errorf("read the answer of %s: %w; does a hotsync of this version listen there?", c.base, err))
	}
	return nil
}

// refusal turns a problem into an error with the exit code that belongs to it.
func (c *client) refusal(resp *http.Response) error {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || t != "application/problem+json" {
		return environment(fmt.Errorf("what answers at %s with %s is no hotsync of this version; say where the daemon listens with --addr or HOTSYNC_ADDR", c.base, resp.Status))
	}
	var p api.Problem
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&p); err != nil {
		return environment(fmt.Errorf("read the answer of %s (%s): %w", c.base, resp.Status, err))
	}
	text := []string{p.Detail}
	for _, e := range p.Errors {
		text = append(text, strings.TrimPrefix(e.Location+": ", ": ")+e.Message)
	}
	switch err := errors.New(plain(strings.Join(text, "; "))); {
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusInternalServerError:
		return environment(err)
	case resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusInternalServerError:
		return err
	default:
		return finding(err)
	}
}

// whoAsks names the user of the operating system, for the log of events.
func whoAsks() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	return "unknown"
}

// plain is a text of others as it may stand on a terminal: without what a
// terminal would obey.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || (r >= 0x7f && r < 0xa0):
			return '\ufffd'
		}
		return r
	}, s)
}

// oneLine is plain without line ends, for tables.
func oneLine(s string) string {
	return strings.Join(strings.Fields(plain(s)), " ")
}
