package logins

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is one of sshd's, or one that it started.
type process struct {
	pid, parent int
	name        string // what it calls itself
	sshd        bool   // its program is sshd
}

// byProcesses are the sources of the established connections of authenticated SSH sessions in the process's own network
// namespace, each once. A connection of sshd is authenticated when
//
//   - sshd has started a program that isn't sshd below the process that holds it, and the program's environment names the
//     connection (SSH_CONNECTION): a shell, a command, an sftp server; or
//   - the process that holds it belongs to a user other than root and sees the machine's root directory. Before the
//     authentication sshd's unprivileged process is confined to an empty one (sshd_config's privilege separation).
//
// It takes root, or CAP_SYS_PTRACE.
func (f *Finder) byProcesses() ([]netip.Addr, error) {
	all, err := f.processes()
	if err != nil {
		return nil, err
	}
	seen := map[netip.Addr]bool{}
	var found []netip.Addr
	var errs []error
	for _, p := range all {
		var remote []netip.AddrPort
		var err error
		if p.sshd {
			if f.loggedInUser(p.pid) {
				remote, err = connections(f.proc, p.pid)
			}
		} else {
			remote, err = f.startedFor(all, p)
		}
		if err != nil && !gone(err) {
			errs = append(errs, err)
		}
		for _, r := range remote {
			if a := r.Addr(); !seen[a] {
				seen[a] = true
				found = append(found, a)
			}
		}
	}
	return found, errors.Join(errs...)
}

// startedFor returns the connection that sshd has started a program for, if a process above it holds that.
func (f *Finder) startedFor(all map[int]process, p process) ([]netip.AddrPort, error) {
	claimed, ok := f.claim(p.pid)
	if !ok {
		return nil, nil
	}
	for depth := 0; depth < maxDepth; depth++ {
		above, ok := all[p.parent]
		if !ok {
			return nil, nil
		}
		p = above
		if !p.sshd {
			continue
		}
		remote, err := connections(f.proc, p.pid)
		if err != nil && !gone(err) {
			return nil, err
		}
		for _, r := range remote {
			if r == claimed {
				return []netip.AddrPort{r}, nil
			}
		}
	}
	return nil, nil
}

const (
	maxDepth = 64
	sshd     = "sshd" // how its processes' names begin
)

// processes are those of sshd and all below them.
func (f *Finder) processes() (map[int]process, error) {
	entries, err := os.ReadDir(f.proc)
	if err != nil {
		return nil, fmt.Errorf("look for SSH sessions: %w", err)
	}
	every := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := f.process(pid)
		if err == nil && strings.HasPrefix(p.name, sshd) {
			p.sshd, err = f.isSSHD(pid)
		}
		switch {
		case err == nil:
			every[pid] = p
		case !gone(err):
			return nil, fmt.Errorf("look for SSH sessions: %w: run as root, or with CAP_SYS_PTRACE", err)
		}
	}
	kept := map[int]process{}
	for pid, p := range every {
		for q, depth := p, 0; depth < maxDepth; depth++ {
			if q.sshd {
				kept[pid] = p
				break
			}
			above, ok := every[q.parent]
			if !ok {
				break
			}
			q = above
		}
	}
	return kept, nil
}

// process reads /proc/PID/stat: the name, which may hold anything, is in parentheses, and the parent comes after the state.
func (f *Finder) process(pid int) (process, error) {
	stat, err := f.head(pid, "stat")
	if err != nil {
		return process{}, err
	}
	name, rest, ok := cutName(stat)
	_, rest, more := bytes.Cut(bytes.TrimPrefix(rest, []byte(" ")), []byte(" ")) // behind the state
	parent, _, whole := bytes.Cut(rest, []byte(" "))
	if !ok || !more || !whole {
		return process{}, fmt.Errorf("%s has another form", f.path(pid, "stat"))
	}
	p := process{pid: pid, name: string(name)}
	p.parent, err = strconv.Atoi(string(parent))
	return p, err
}

// head reads the beginning of a file. There are hundreds of processes to look at every few seconds: os.ReadFile makes three times as many
// system calls.
func (f *Finder) head(pid int, name string) ([]byte, error) {
	path := f.path(pid, name)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Read(fd, f.scratch[:])
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return f.scratch[:n], nil
}

func cutName(stat []byte) (name, rest []byte, ok bool) {
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin {
		return nil, nil, false
	}
	return stat[begin+1 : end], stat[end+1:], true
}

// isSSHD looks at the program, since a process may call itself anything. An upgrade deletes the file of those that run.
func (f *Finder) isSSHD(pid int) (bool, error) {
	exe, err := os.Readlink(f.path(pid, "exe"))
	if err != nil {
		return false, err
	}
	info, err := os.Stat(f.path(pid, "exe"))
	if err != nil {
		return false, err
	}
	switch filepath.Base(strings.TrimSuffix(exe, " (deleted)")) {
	case "sshd", "sshd-session", "sshd-auth": // one program before OpenSSH 9.8, three since 9.9
		return ownedByRoot(info), nil
	}
	return false, nil
}

// loggedInUser tells whether a process of sshd acts for an authenticated user other than root.
func (f *Finder) loggedInUser(pid int) bool {
	if ids := f.users(pid); len(ids) != 4 || slices.Contains(ids, "0") {
		return false
	}
	root, err := os.Readlink(f.path(pid, "root"))
	return err == nil && root == "/"
}

// users are the real, effective, saved and file system user of a process, which anybody may ask for; none if it is gone. The owner
// of /proc/PID isn't the user: that is root for whoever changes users.
func (f *Finder) users(pid int) []string {
	status, err := os.ReadFile(f.path(pid, "status"))
	if err != nil {
		return nil
	}
	_, uids, _ := strings.Cut(string(status), "\nUid:")
	uids, _, _ = strings.Cut(uids, "\n")
	return strings.Fields(uids)
}

// claim is the remote end of SSH_CONNECTION, which is "address port address port".
func (f *Finder) claim(pid int) (netip.AddrPort, bool) {
	environ, err := os.ReadFile(f.path(pid, "environ"))
	if err != nil {
		return netip.AddrPort{}, false
	}
	for _, v := range bytes.Split(environ, []byte{0}) {
		value, ok := strings.CutPrefix(string(v), "SSH_CONNECTION=")
		if !ok {
			continue
		}
		fields := strings.Fields(value)
		if len(fields) != 4 {
			return netip.AddrPort{}, false
		}
		a, err := netip.ParseAddr(fields[0])
		port, err2 := strconv.ParseUint(fields[1], 10, 16)
		return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(port)), err == nil && err2 == nil
	}
	return netip.AddrPort{}, false
}

func (f *Finder) path(pid int, name string) string {
	return filepath.Join(f.proc, strconv.Itoa(pid), name)
}

// gone tells that a process ended while it was looked at.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }
