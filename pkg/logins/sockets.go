package logins

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// connections are the remote ends of a process's established TCP connections in this process's network namespace. The
// sockets themselves are asked: what a process says of itself may be a lie, and /proc/net/tcp is long during an attack.
func connections(proc string, pid int) (remote []netip.AddrPort, err error) {
	dir := filepath.Join(proc, strconv.Itoa(pid), "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look at sshd's sockets: %w", err)
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("look at sshd's sockets: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(handle)) }()
	home, err := ownNetwork()
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		n, err := strconv.Atoi(fd.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink(filepath.Join(dir, fd.Name())); err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		socket, err := unix.PidfdGetfd(handle, n, 0)
		if errors.Is(err, unix.EBADF) || errors.Is(err, unix.ESRCH) {
			continue // closed since
		}
		if err != nil {
			return nil, fmt.Errorf("look at sshd's sockets: %w: run as root, or with CAP_SYS_PTRACE", err)
		}
		r, ok := peer(socket, home)
		if err := unix.Close(socket); err != nil {
			return nil, err
		}
		if ok {
			remote = append(remote, r)
		}
	}
	return remote, nil
}

// peer is the other end of an established TCP connection of a network namespace.
func peer(socket int, home uint64) (netip.AddrPort, bool) {
	if cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil || cookie != home {
		return netip.AddrPort{}, false
	}
	info, err := unix.GetsockoptTCPInfo(socket, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State != tcpEstablished {
		return netip.AddrPort{}, false
	}
	name, err := unix.Getpeername(socket)
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

const tcpEstablished = 1 // TCP_ESTABLISHED of linux/tcp_states.h

// ownNetwork is the cookie of the calling thread's network namespace (Linux 5.14).
func ownNetwork() (cookie uint64, err error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("find the network namespace: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(s)) }()
	cookie, err = unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		err = fmt.Errorf("find the network namespace: %w: Linux 5.14 or later is needed", err)
	}
	return cookie, err
}

func ownedByRoot(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0
}
