package datapath

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// counted is how many connections a source of the key's form has.
func (b *challenged) counted() uint64 {
	b.t.Helper()
	var key, n, sum uint64
	for i := b.openMap(bpfMapConnections).Iterate(); i.Next(&key, &n); {
		sum += n
	}
	return sum
}

func (b *challenged) openMap(name string) *ebpf.Map {
	b.t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(b.a.place.dir(), name), nil)
	must(b.t, err)
	b.t.Cleanup(func() { must(b.t, m.Close()) })
	return m
}

func (b *challenged) refused() bool {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 300*time.Millisecond)
	defer cancel()
	c, err := b.Customer.Dial(ctx, "tcp", b.Bank.Addr(bankPort).String())
	if err != nil {
		return true
	}
	b.t.Cleanup(func() { c.Close() })
	must(b.t, c.SetDeadline(time.Now().Add(300*time.Millisecond)))
	if _, err = c.Write([]byte("?")); err == nil {
		_, err = c.Read(make([]byte, 1)) // under challenge it looks open, and isn't
	}
	return err != nil
}

func TestConnectionsOfASource(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	must(t, b.a.Close())
	b.Bank.Do(t, func() {
		_, err := Unload(b.opts.BPFFS, b.opts.Interface)
		must(t, err)
	})
	var open []net.Conn
	for range 3 { // before there is anybody to count
		open = append(open, b.dial(b.Bank.Addr(bankPort)))
	}
	theirs := b.Customer.Listen(t, b.Customer.Addr(bankPort))
	b.Bank.Do(t, func() { // the bank's own connection elsewhere is nobody's
		c, err := net.Dial("tcp", theirs.Addr().String())
		must(t, err)
		t.Cleanup(func() { c.Close() })
		b.opts.Budgets = Budgets{Connections: 5}
		b.a, err = Attach(b.opts)
		must(t, err)
		must(t, b.a.NoWatch)
	})
	if n := b.counted(); n != 3 {
		t.Fatalf("%d connections counted of 3 that were open", n)
	}
	b.enable(DefaultLimit)
	for range 2 {
		open = append(open, b.dial(b.Bank.Addr(bankPort)))
	}
	for _, policy := range []ChallengePolicy{{}, {When: ChallengeAlways, Unverified: DefaultUnverified}} {
		b.policy(policy)
		if n := b.counted(); n != 5 || !b.refused() {
			t.Errorf("%+v: a sixth connection was taken, %d counted", policy, n)
		}
		must(t, open[0].Close())
		te.Eventually(t, 5*time.Second, "uncounted", func() bool { return b.counted() == 4 })
		open = append(open[1:], b.dial(b.Bank.Addr(bankPort)))
		for _, c := range open {
			roundTrip(t, c)
		}
	}
	// A sensor that comes later goes on counting.
	b.Bank.Do(t, func() {
		again, err := Attach(b.opts)
		must(t, err)
		must(t, again.NoWatch)
		must(t, again.Close())
	})
	for _, c := range open {
		must(t, c.Close())
	}
	te.Eventually(t, 5*time.Second, "all uncounted", func() bool { return b.counted() == 0 })
	c, err := b.a.Counters()
	must(t, err)
	if n := c[ClassSYN][VerdictDrop][ReasonConnections].Packets; n < 2 {
		t.Errorf("%d SYNs were dropped for it", n)
	}
}
