package policer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockFile = "tc.lock"
	lockWait = 5 * time.Second
)

// ErrLocked is about a lock that another process of weir's has held for too long.
var ErrLocked = errors.New("locked by another weir process")

// Sole waits a while until no other process calls itself the interface's sole one, and returns what makes this one so until it is closed;
// ErrLocked if it waits in vain.
func (p *Policer) Sole(ctx context.Context, wait time.Duration) (io.Closer, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return nil, fmt.Errorf("find the network namespace: %w: is /proc mounted?", err)
	}
	return p.lock(ctx, fmt.Sprintf("lease-%d-%d.lock", st.Ino, p.ifindex), wait)
}

// locked runs f while no other weir changes tc.
func (p *Policer) locked(f func() error) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lock, err := p.lock(context.Background(), lockFile, lockWait)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return f()
}

// lock holds a file of the run directory until it is closed. Dying closes it.
func (p *Policer) lock(ctx context.Context, file string, wait time.Duration) (_ io.Closer, err error) {
	if err := os.MkdirAll(p.opts.Run, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w: run as root", p.opts.Run, err)
	}
	name := filepath.Join(p.opts.Run, file)
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := p.giveToOwner(lock); err != nil {
		return nil, err
	}
	for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return lock, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, fmt.Errorf("lock %s: %w", name, err)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case time.Now().After(end):
			return nil, fmt.Errorf("%s is %w: find it with `fuser %s`", name, ErrLocked, name)
		}
	}
}

// giveToOwner lets the user of a service, whose directory it is, open what root has made in it. That user could have put something of
// root's there by another name: links aren't followed, and what has two names is refused.
func (p *Policer) giveToOwner(file *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var dir, st unix.Stat_t
	if err := errors.Join(unix.Stat(p.opts.Run, &dir), unix.Fstat(int(file.Fd()), &st)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return fmt.Errorf("%s isn't a lock of weir's: remove it", file.Name())
	}
	return file.Chown(int(dir.Uid), int(dir.Gid))
}
