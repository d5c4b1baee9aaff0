// Package haproxy scales a backend of a running HAProxy by its runtime API: https://docs.haproxy.org/2.6/management.html#9.3
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// cli is HAProxy's stats socket. Each command has a connection of its own, as HAProxy closes it after one.
type cli string

const (
	answerWait = 5 * time.Second
	maxAnswer  = 4 << 20
)

// ask gives a command and returns the answer without the empty line at its end.
func (c cli) ask(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", string(c))
	if err != nil {
		return "", c.explain(err)
	}
	defer func() { _ = conn.Close() }() // what was to be read has been
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", c.explain(err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("haproxy gives no answer to %q: %w", command, ctx.Err())
	case err != nil:
		return "", c.explain(err)
	case len(answer) > maxAnswer:
		return "", fmt.Errorf("haproxy's answer to %q is over %d bytes", command, maxAnswer)
	}
	return strings.TrimRight(string(answer), "\n"), nil
}

// do gives a command that is done if the answer is none at all, or begins with one of want.
func (c cli) do(ctx context.Context, command string, want ...string) error {
	answer, err := c.ask(ctx, command)
	if err != nil || answer == "" {
		return err
	}
	for _, w := range want {
		if strings.HasPrefix(answer, w) {
			return nil
		}
	}
	return refused{command, answer}
}

// refused is an answer that isn't the one wanted.
type refused struct{ command, answer string }

func (r refused) Error() string {
	if strings.HasPrefix(r.answer, "Permission denied") {
		return "haproxy's socket doesn't let weir change anything: give it `level admin` in HAProxy's configuration"
	}
	return fmt.Sprintf("haproxy answers %q: %.300s", r.command, wire.Describe([]byte(r.answer)))
}

// says tells whether HAProxy refused with such words.
func says(err error, words string) bool {
	var r refused
	return errors.As(err, &r) && strings.Contains(r.answer, words)
}

func (c cli) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no haproxy at %s: is it running, with `stats socket %s level admin`?", string(c), string(c))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("haproxy's socket %s isn't open to weir's user: see `user`, `group` and `mode` of `stats socket`", string(c))
	}
	return fmt.Errorf("haproxy's socket %s: %w", string(c), err)
}
