// Package logins finds out from where administrators are logged in by SSH now. A connection to the SSH port proves nothing,
// for any attacker can hold one: it takes what only exists after the authentication. Whoever may look into other processes does
// so; else systemd-logind and utmp are asked, whose word is root's.
package logins

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Finder looks for the sessions of a machine. It is for one goroutine at a time.
type Finder struct {
	proc, utmp string
	scratch    [512]byte // proc_pid_stat(5) as far as the parent is shorter
	sessions   interface {
		remotes() ([]string, error)
	}
}

// New returns a finder in a proc file system.
func New(proc string) *Finder { return &Finder{proc: proc, utmp: utmpFile, sessions: &logind{}} }

// Addresses are where sessions of SSH that are open now come from, each once. If they can't all be found out the error says why; those
// that could be are returned as well. It takes a second at most.
func (f *Finder) Addresses() ([]netip.Addr, error) {
	if mayTrace() {
		return f.byProcesses()
	}
	remotes, err := f.sessions.remotes()
	records, utmpErr := f.byUtmp()
	found, unknown := merge(remotes, records)
	switch {
	case errors.Is(err, errNoLogind) && utmpErr == nil:
		err = nil // utmp alone knows those that have a terminal
	case errors.Is(err, errNoLogind):
		err = fmt.Errorf("look for SSH sessions: %w, %w: install libpam-systemd, or run as root", err, utmpErr)
	case errors.Is(utmpErr, fs.ErrNotExist): // newer systems have none, and logind knows all
	default:
		err = errors.Join(err, utmpErr)
	}
	return found, errors.Join(err, unknown)
}

// merge takes the addresses of both, each once. A name is unknown unless utmp has its address.
func merge(remotes []string, records []entry) (each []netip.Addr, err error) {
	seen := map[netip.Addr]bool{}
	add := func(a netip.Addr) {
		if a = a.Unmap().WithZone(""); !seen[a] {
			seen[a] = true
			each = append(each, a)
		}
	}
	for _, r := range remotes {
		if a, wrong := netip.ParseAddr(r); wrong == nil {
			add(a)
		} else if !slices.ContainsFunc(records, func(e entry) bool { return e.host == r }) {
			err = fmt.Errorf("an SSH session without a terminal comes from %.100q, whose address isn't told: set UseDNS no in sshd_config", r)
		}
	}
	for _, e := range records {
		add(e.from)
	}
	return each, err
}

// mayTrace tells whether this process has CAP_SYS_PTRACE, without which others' sockets and environments can't be seen.
func mayTrace() bool {
	var sets [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&header, &sets[0]) == nil && sets[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}
