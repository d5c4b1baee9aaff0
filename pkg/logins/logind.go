package logins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/login1"
	"github.com/godbus/dbus/v5"
)

// logind asks systemd-logind, in which PAM registers sessions (pam_systemd); nobody but root may.
type logind struct {
	busy atomic.Bool // with a question
	conn *login1.Conn
}

const answerWithin = time.Second

var (
	errNoLogind = errors.New("there is no systemd-logind")
	errSlow     = fmt.Errorf("ask systemd-logind for SSH sessions: no answer in %v: systemctl status dbus systemd-logind", answerWithin)
)

// remotes waits for an answer only so long, and asks nothing while it still waits for one. They are addresses, or names if sshd looks
// them up (UseDNS).
func (l *logind) remotes() ([]string, error) {
	if !l.busy.CompareAndSwap(false, true) {
		return nil, errSlow
	}
	type answer struct {
		found []string
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		found, err := l.ask()
		l.busy.Store(false)
		answers <- answer{found, err}
	}()
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	select {
	case a := <-answers:
		return a.found, a.err
	case <-late.C:
		return nil, errSlow
	}
}

// ask keeps its connection for the next time.
func (l *logind) ask() (found []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if l.conn == nil || !l.conn.Connected() {
		l.conn.Close()
		if l.conn, err = login1.New(); err != nil {
			l.conn = nil
			return nil, asked(err)
		}
	}
	all, err := l.conn.ListSessionsContext(ctx)
	if err != nil {
		l.conn.Close()
		l.conn = nil
		return nil, asked(err)
	}
	var errs []error
	for _, s := range all {
		p, err := l.conn.GetSessionPropertiesContext(ctx, s.Path)
		if named(err, "org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.login1.NoSuchSession") {
			continue // ended since
		}
		if err != nil {
			errs = append(errs, asked(err))
			continue
		}
		if host, ok := remote(p); ok {
			found = append(found, host)
		}
	}
	return found, errors.Join(errs...)
}

// remote is where a session comes from, if it is one of sshd's and isn't over. The properties are those of
// org.freedesktop.login1(5): a session whose user has left is closing until its last process ends.
func remote(p map[string]dbus.Variant) (host string, ok bool) {
	text := func(name string) string {
		s, _ := p[name].Value().(string)
		return s
	}
	if is, _ := p["Remote"].Value().(bool); !is || text("Service") != sshd || text("State") == "closing" {
		return "", false
	}
	return text("RemoteHost"), true
}

// asked says what a machine without logind answers in one way.
func asked(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) ||
		named(err, "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
			"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitMasked") {
		return errNoLogind
	}
	return fmt.Errorf("ask systemd-logind for SSH sessions: %w", err)
}

func named(err error, names ...string) bool {
	var e dbus.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, n := range names {
		if e.Name == n {
			return true
		}
	}
	return false
}
