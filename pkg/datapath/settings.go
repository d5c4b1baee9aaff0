package datapath

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// settingForFallback is what both settings must be: cookies for every SYN, timestamps without a random offset.
const settingForFallback = 2

// setting is one of net.ipv4 that the fallback changes.
type setting struct {
	name string
	was  *uint32 // and 1; 0 if it wasn't changed
	late bool    // put back last
}

// settings lists them in the order in which they are changed and put back.
func (raw *bpfWeirFallback) settings() []setting {
	return []setting{{"tcp_syncookies", &raw.Syncookies, false}, {"tcp_timestamps", &raw.Timestamps, true}}
}

func (s setting) path() string { return "/proc/sys/net/ipv4/" + s.name }

func (s setting) write(v uint64) error {
	return os.WriteFile(s.path(), strconv.AppendUint(nil, v, 10), 0)
}

// settingsHold tells whether they are as the fallback needs them.
func settingsHold() bool {
	for _, s := range new(bpfWeirFallback).settings() {
		if now, err := readSysctl(s.path()); err != nil || now != settingForFallback {
			return false
		}
	}
	return true
}

// netnsCookie tells the calling thread's network namespace from all others since the machine started, unlike its inode.
func netnsCookie() (_ uint64, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// inNetns runs f in the network namespace of a cookie, if that has a name or a process.
func inNetns(cookie uint64, f func() error) error {
	if here, err := netnsCookie(); err != nil {
		return err
	} else if here == cookie {
		return f()
	}
	seen := map[uint64]bool{}
	for _, pattern := range []string{"/run/netns/*", "/proc/[0-9]*/ns/net"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			var st unix.Stat_t
			if unix.Stat(path, &st) != nil || seen[st.Ino] {
				continue
			}
			seen[st.Ino] = true
			if found, err := inNetnsOf(path, cookie, f); found || err != nil {
				return err
			}
		}
	}
	return nil
}

// inNetnsOf runs f in the namespace of a file if it has that cookie. The thread comes back: the process's first one would else be
// there for good, and the process with it in others' eyes.
func inNetnsOf(path string, cookie uint64, f func() error) (found bool, err error) {
	there, err := os.Open(path)
	if err != nil {
		return false, nil // its process has ended
	}
	defer func() { err = errors.Join(err, there.Close()) }()
	runtime.LockOSThread()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return false, err
	}
	defer func() { err = errors.Join(err, back.Close()) }()
	if unix.Setns(int(there.Fd()), unix.CLONE_NEWNET) != nil {
		runtime.UnlockOSThread()
		return false, nil // no file of a namespace, or not ours to enter
	}
	defer func() {
		if e := unix.Setns(int(back.Fd()), unix.CLONE_NEWNET); e != nil {
			err = errors.Join(err, e) // nobody else may use this thread
			return
		}
		runtime.UnlockOSThread()
	}()
	here, err := netnsCookie()
	if err != nil || here != cookie {
		return false, err
	}
	return true, f()
}
