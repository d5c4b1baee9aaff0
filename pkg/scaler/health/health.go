// Package health asks servers whether they are well.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Check is a URL, in which {n} stands for the server's number: http and https must be answered by 2xx or 3xx, tcp needs only be connected
// to.
type Check string

const (
	every   = 200 * time.Millisecond
	patient = 2 * time.Second // for one answer
	inARow  = 2               // one alone may be of a server that is about to fail
)

// Await waits until a server is well. When ctx ends before, the error says what was wrong last.
func (c Check) Await(ctx context.Context, n int) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := errors.New("it wasn't asked yet")
	for well := 0; ; {
		err := c.Ask(ctx, n)
		switch {
		case err == nil:
			if well++; well >= inARow {
				return nil
			}
		case ctx.Err() == nil:
			well, last = 0, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: the server isn't well: %w", ctx.Err(), last)
		}
	}
}

// Ask asks once.
func (c Check) Ask(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	text := strings.ReplaceAll(string(c), "{n}", strconv.Itoa(n))
	if addr, ok := strings.CutPrefix(text, "tcp://"); ok {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimSuffix(addr, "/"))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		return errors.New("its address can't be used")
	}
	shown := url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path} // the rest may hold a secret
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", &shown, plain(err))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close() // the status is all that counts
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("%s answers %d", &shown, resp.StatusCode)
	}
	return nil
}

// client follows nobody: a redirect is an answer.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// plain leaves out what the library puts around the cause.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
