package tc

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watch tells whether anybody has changed traffic control since it was last asked: that costs next to nothing, and needs no interval. It is of
// the network namespace where it is used first. The zero value is ready.
type Watch struct {
	mu   sync.Mutex
	heed *os.File // nil before the first use
}

// Changed is true at first, and whenever it can't be known.
func (w *Watch) Changed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heed == nil {
		w.open()
		return true
	}
	changed := false
	for {
		// The kernel drops what finds no room, and says so by ENOBUFS. What was changed doesn't matter: no byte of it is read.
		_, _, err := unix.Recvfrom(int(w.heed.Fd()), nil, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return changed
		case err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR):
			_ = w.heed.Close()
			w.heed = nil
			return true
		}
		changed = true
	}
}

// open leaves heed nil where it fails: then everything is a change.
func (w *Watch) open() {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_TC - 1)}); err != nil {
		_ = unix.Close(fd)
		return
	}
	w.heed = os.NewFile(uintptr(fd), "changes of tc") // closes with its owner
}
