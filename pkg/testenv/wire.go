package testenv

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inFlight bounds the memory of frames that nobody has received yet, bytes, so that the 256 places of a veth's receive
// queue never run out: a frame costs 512 and more, and the kernel doubles the number.
const inFlight = 32 << 10

// Wire sends frames as they are from an interface.
type Wire struct {
	fd    int
	host  *Host
	iface string
}

// NewWire opens an interface of the host for sending until the test ends.
func NewWire(t testing.TB, h *Host, iface string) *Wire {
	t.Helper()
	Root(t)
	w := &Wire{host: h, iface: iface}
	var err error
	h.Do(t, func() { w.fd, err = openPacket(iface) })
	if err != nil {
		t.Fatalf("%s: %s: %v", h.Name, iface, err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

func openPacket(iface string) (int, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, inFlight),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 5}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: i.Index}),
	)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Send sends frames in order and returns when the last has been received: every one of them has then met the XDP program
// or the stack at the other end. It waits for as long as the receiver is behind, so that nothing is lost on the way.
func (w *Wire) Send(frames ...[]byte) error {
	for i, frame := range frames {
		if err := w.write(frame); err != nil {
			return fmt.Errorf("%s: %s: frame %d of %d, %d bytes: %w", w.host.Name, w.iface, i, len(frames), len(frame), err)
		}
	}
	return w.drain()
}

// write waits for room, at most 5 s.
func (w *Wire) write(frame []byte) error {
	for {
		_, err := unix.Write(w.fd, frame)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// drain waits until the memory of all frames is given back.
func (w *Wire) drain() error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Microsecond) {
		left, err := unix.IoctlGetInt(w.fd, unix.TIOCOUTQ)
		if err != nil || left == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %s: %d bytes of frames are still under way", w.host.Name, w.iface, left)
		}
	}
}

// SendFrames sends frames from an interface of a host, see Wire.Send; the test ends if it can't.
func SendFrames(t testing.TB, h *Host, iface string, frames [][]byte) {
	t.Helper()
	if err := NewWire(t, h, iface).Send(frames...); err != nil {
		t.Fatal(err)
	}
}

// OnCPU runs fn on one CPU. What is sent over veth pairs is received on the sender's CPU.
func OnCPU(t testing.TB, cpu int, fn func()) {
	t.Helper()
	runtime.LockOSThread()
	var before, one unix.CPUSet
	one.Set(cpu)
	err := unix.SchedGetaffinity(0, &before)
	if err == nil {
		err = unix.SchedSetaffinity(0, &one)
	}
	if err != nil {
		runtime.UnlockOSThread()
		t.Fatalf("CPU %d: %v", cpu, err)
	}
	defer func() {
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	}()
	fn()
}
