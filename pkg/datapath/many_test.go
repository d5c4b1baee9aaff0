package datapath

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestTenThousandConnections: of 10,000, each with a request, none is lost and none reset.
func TestTenThousandConnections(t *testing.T) {
	b := newFlooded(t)
	b.enable(Limit{Rate: MaxRate, Burst: MaxBurst})
	b.pages(b.Bank.Listen(t, b.Bank.Addr(bankPort)), nil)
	settle() // for a jiffy the kernel takes connections by itself where nobody listened
	cookies := b.cookies()
	r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 10_000, Concurrency: 10, Path: "/"})
	if r.OK != 10_000 {
		t.Errorf("%v", r)
	}
	if n := b.cookies().Accepted - cookies.Accepted; n < 10_000 {
		t.Errorf("%d connections were opened by cookies", n)
	}
	t.Log(r)
}

// TestListenersThatShareAPort: each of a group gets connections, and so do other ports.
func TestListenersThatShareAPort(t *testing.T) {
	b := newFlooded(t)
	share := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	var taken [4]atomic.Int64
	for i := range taken {
		l := b.listenWith(b.Bank.Addr(bankPort), false, share)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				taken[i].Add(1)
				c.Close()
			}
		}()
	}
	b.serve(b.Bank.Listen(t, b.Bank.Addr(bankPort+1)))
	settle()
	cookies := b.cookies()
	for _, to := range []uint16{bankPort, bankPort + 1} {
		if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(to), N: 200, Concurrency: 5}); r.OK != 200 {
			t.Errorf("port %d: %v", to, r)
		}
	}
	var sum int64
	for i := range taken {
		n := taken[i].Load()
		if n < 20 {
			t.Errorf("listener %d of the group got %d of 200 connections", i, n)
		}
		sum += n
	}
	if n := b.cookies().Accepted - cookies.Accepted; sum != 200 || n < 400 {
		t.Errorf("%d connections were taken by the group, %d opened by cookies", sum, n)
	}
}

// TestSecretOutlivesTheSensor: handshakes that are under way while a sensor starts again end well.
func TestSecretOutlivesTheSensor(t *testing.T) {
	b := newFlooded(t)
	b.enable(Limit{Rate: MaxRate, Burst: MaxBurst})
	b.echo()
	done := make(chan te.Result)
	stop := make(chan struct{})
	go func() {
		var all te.Result
		for {
			select {
			case <-stop:
				done <- all
				return
			default:
			}
			r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 100, Concurrency: 5})
			all.OK, all.Failed, all.Errors = all.OK+r.OK, all.Failed+r.Failed, append(all.Errors, r.Errors...)
		}
	}()
	for i := range 4 {
		b.Bank.Do(t, func() {
			a, err := Attach(b.opts)
			must(t, err)
			if !a.Adopted {
				t.Errorf("start %d made a new datapath", i)
			}
			must(t, a.Close())
		})
		time.Sleep(100 * time.Millisecond)
	}
	close(stop)
	if r := <-done; r.Failed > 0 || r.OK < 300 {
		t.Errorf("%v", r)
	}
}
