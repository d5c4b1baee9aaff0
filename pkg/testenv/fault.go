package testenv

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that a thread made: its number, and the first argument, which is the command of bpf(2).
type Call struct {
	Number int32
	Arg    uint64
}

// The calls that Faults sees: those by which a program takes something from the kernel. None may be of those that Go makes
// by RawSyscall, as socket(2): its scheduler would wait for the call, and so the call's answer for the scheduler.
var faultable = []uint32{
	unix.SYS_BPF, unix.SYS_FLOCK, unix.SYS_MKDIRAT, unix.SYS_OPENAT, unix.SYS_RENAMEAT, unix.SYS_SENDTO, unix.SYS_STATFS,
}

// Faults runs fn on a thread of its own, in the host, and lets fail decide which of its calls don't reach the kernel and
// return EIO instead, nor of the calls of processes that fn starts. It is called for one call at a time, in their order. What
// other threads do isn't touched.
func (h *Host) Faults(t testing.TB, fail func(Call) bool, fn func()) {
	t.Helper()
	Root(t)
	listener, done := make(chan int, 1), make(chan struct{})
	var failed error
	go func() {
		runtime.LockOSThread() // never unlocked: the filter ends with the thread
		defer close(done)
		failed = h.enter(func() {
			fd, err := filterCalls()
			if err != nil {
				t.Errorf("watch system calls: %v", err)
				fd = -1
			}
			if listener <- fd; err == nil {
				fn()
			}
		})
	}()
	select {
	case fd := <-listener:
		if fd < 0 {
			break
		}
		err := answerCalls(fd, fail, done)
		if err = errors.Join(err, unix.Close(fd)); err != nil { // closed, it fails what is still asked
			t.Error(err)
		}
	case <-done:
	}
	<-done
	if failed != nil {
		t.Fatal(failed)
	}
}

// filterCalls has the calling thread's calls reported to the file descriptor that it returns.
func filterCalls() (int, error) {
	const number = 0 // its offset in struct seccomp_data
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number}}
	for i, nr := range faultable {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(faultable) - i), K: nr})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fmt.Errorf("seccomp: %w", errno)
	}
	return int(fd), nil
}

// notification is struct seccomp_notif, answer struct seccomp_notif_resp; see linux/seccomp.h.
type notification struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

const goOn = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

// answerCalls answers until done. It looks for that by itself: a filter outlives its goroutine if that had the main thread,
// which Go never ends.
func answerCalls(fd int, fail func(Call) bool, done <-chan struct{}) error {
	const interval = 10 // ms
	for {
		select {
		case <-done:
			return nil
		default:
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, interval); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for system calls: %w", err)
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			continue
		}
		var n notification
		if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // a signal has interrupted the call, which comes again
		} else if err != nil {
			return fmt.Errorf("receive a system call: %w", err)
		}
		a := answer{id: n.id, flags: goOn}
		if fail(Call{n.number, n.args[0]}) {
			a.errno, a.flags = -int32(unix.EIO), 0
		}
		if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("answer a system call: %w", err)
		}
	}
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
