package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inFlight bounds the memory of frames under way, bytes; the kernel doubles it. The shortest frame takes 768, so that a
// flood doesn't overrun the 256 places of the first veth's receive queue.
const inFlight = 32 << 10

// Wire sends frames as they are from an interface.
type Wire struct {
	fd    int
	host  *Host
	iface string

	arrivals map[*Host]*arrivals
}

// NewWire opens an interface of the host for sending until the test ends.
func NewWire(t testing.TB, h *Host, iface string) *Wire {
	t.Helper()
	Root(t)
	w := &Wire{host: h, iface: iface, arrivals: map[*Host]*arrivals{}}
	var err error
	h.Do(t, func() { w.fd, err = openPacket(iface) })
	if err != nil {
		t.Fatalf("%s: %s: %v", h.Name, iface, err)
	}
	t.Cleanup(func() {
		unix.Close(w.fd)
		for _, a := range w.arrivals {
			a.dev.Close()
		}
	})
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

// batch is half of the receive queue of a veth, which loses what it has no place for.
const batch = 128

// Send sends frames in order and returns when all have been received: each has then met the XDP program at the other
// end. It never gets further ahead than queues on the way can hold, and errs if a frame for a host of the same net did
// not arrive; that holds as long as nobody else floods that host.
func (w *Wire) Send(frames ...[]byte) error {
	for chunk := range slices.Chunk(frames, batch) {
		if err := w.sendBatch(chunk); err != nil {
			return fmt.Errorf("%s: %s: %w", w.host.Name, w.iface, err)
		}
	}
	return nil
}

func (w *Wire) sendBatch(frames [][]byte) error {
	want := map[*arrivals]uint64{}
	for _, frame := range frames {
		a, err := w.arrivalsOf(frame)
		if err != nil {
			return err
		}
		if _, known := want[a]; !known && a != nil {
			if want[a], err = a.count(); err != nil {
				return err
			}
		}
		if a != nil {
			want[a]++
		}
	}
	for _, frame := range frames {
		if err := w.write(frame); err != nil {
			return fmt.Errorf("frame of %d bytes: %w", len(frame), err)
		}
	}
	if err := w.drain(); err != nil {
		return err
	}
	for a, n := range want {
		if err := a.await(n); err != nil {
			return err
		}
	}
	return nil
}

// arrivalsOf finds the host that a frame is for; nil if it isn't for one.
func (w *Wire) arrivalsOf(frame []byte) (*arrivals, error) {
	if w.host.net == nil || len(frame) < 6 {
		return nil, nil
	}
	for _, h := range w.host.net.hosts {
		if h.MAC == nil || !bytes.Equal(h.MAC, frame[:6]) {
			continue
		}
		if w.arrivals[h] == nil {
			a, err := openArrivals(h)
			if err != nil {
				return nil, err
			}
			w.arrivals[h] = a
		}
		return w.arrivals[h], nil
	}
	return nil, nil
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

// drain waits until the memory of all frames is given back; a bridge on the way may do that before the frame arrives.
func (w *Wire) drain() error {
	var left int
	ok, err := poll(func() (bool, error) {
		var err error
		left, err = unix.IoctlGetInt(w.fd, unix.TIOCOUTQ)
		return left == 0, err
	})
	if err == nil && !ok {
		return fmt.Errorf("%d bytes of frames are still under way", left)
	}
	return err
}

// poll asks cond until it is true, at most 5 s.
func poll(cond func() (bool, error)) (bool, error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Microsecond) {
		if ok, err := cond(); ok || err != nil || time.Now().After(deadline) {
			return ok, err
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
