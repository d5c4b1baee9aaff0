package datapath

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

var auto = ChallengePolicy{When: ChallengeAuto, Unverified: DefaultUnverified}

func (b *challenged) control() Control {
	b.t.Helper()
	c, err := b.a.Control()
	must(b.t, err)
	return c
}

// awaitChallenge waits until auto has begun or ended.
func (b *challenged) awaitChallenge(on bool, within time.Duration) {
	b.t.Helper()
	for start := time.Now(); b.control().Challenging != on; time.Sleep(time.Millisecond) {
		if time.Since(start) > within {
			b.t.Fatalf("challenging is %v for %v: %+v", !on, within, b.control())
		}
	}
}

// entered is how many sources the source table holds.
func (b *challenged) entered() int {
	b.t.Helper()
	table, err := b.a.sources.Memory()
	must(b.t, err)
	raw := make([]byte, table.Size())
	_, err = table.ReadAt(raw, 0)
	must(b.t, err)
	n := 0
	for ; len(raw) > 0; raw = raw[sourceBytes:] {
		if binary.NativeEndian.Uint64(raw) != 0 {
			n++
		}
	}
	return n
}

func TestAutoChallengesSpoofedFloods(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.enable(DefaultLimit)
	b.policy(auto)
	if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 10}); r.OK != 10 {
		t.Fatal(r)
	}
	if n := b.txs(); n != 0 || b.control().Challenging {
		t.Fatalf("%d SYNs were challenged before the flood", n)
	}
	if n, err := b.a.Verified(); err != nil || n != 1 {
		t.Fatalf("%d verified sources, %v; want the customer", n, err)
	}

	f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources})
	b.awaitChallenge(true, 5*time.Second)
	entered, cookies := b.entered(), b.cookies()
	// The customer is known: the kernel gets its SYNs. By IPv6 it isn't yet.
	if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 100}); r.OK != 100 {
		t.Error(r)
	}
	if c := b.cookies(); c != cookies {
		t.Errorf("a verified source was challenged: cookies %+v, before %+v", c, cookies)
	}
	if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr6(bankPort), N: 100}); r.OK != 100 {
		t.Error(r)
	}
	if n := b.cookies().Accepted - cookies.Accepted; n < 1 || n > 10 {
		t.Errorf("%d connections of a source that became verified were challenged", n)
	}
	if n := b.entered(); n != entered {
		t.Errorf("%d sources in the table, %d before: spoofed SYNs were entered", n, entered)
	}
	if n, err := b.a.Verified(); err != nil || n != 2 {
		t.Errorf("%d verified sources, %v; want the customer twice", n, err)
	}
	f.Stop()
	if !b.control().Challenging {
		t.Error("ended with the flood, not some seconds later")
	}
	b.awaitChallenge(false, 12*time.Second)
	if c := b.control(); c.ChallengeStarts != 1 {
		t.Errorf("began %d times", c.ChallengeStarts)
	}
}

// A verified source's SYN may be answered by the kernel with a cookie of its own, as may any SYN just before the challenge.
func TestKernelCookiesAreGoodDuringTheChallenge(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "2") // always
	b.enable(DefaultLimit)
	b.policy(auto)
	for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
		roundTrip(t, b.dial(to))
	}
	te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources})
	b.awaitChallenge(true, 5*time.Second)
	for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
		for range 10 {
			roundTrip(t, b.dial(to))
		}
	}
	if c := b.cookies(); c != (Cookies{Kernel: c.Kernel}) {
		t.Errorf("verified sources were challenged: %+v", c)
	}
}

func TestAutoLeavesOneSourceToItsLimit(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.enable(DefaultLimit)
	b.policy(auto)
	te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort)})
	time.Sleep(500 * time.Millisecond)
	c, err := b.a.Counters()
	must(t, err)
	if n := c[ClassSYN][VerdictDrop][ReasonSourceRate].Packets; n < 1000 || b.txs() != 0 || b.control().Challenging {
		t.Errorf("%d SYNs of one source were dropped, %d challenged", n, b.txs())
	}
}

func TestAutoDropsSpoofedSYNsToClosedPorts(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.enable(DefaultLimit)
	b.policy(auto)
	te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort + 1), Sources: te.RandomSources})
	b.awaitChallenge(true, 5*time.Second)
	time.Sleep(200 * time.Millisecond)
	c, err := b.a.Counters()
	must(t, err)
	if n := c[ClassSYN][VerdictDrop][ReasonUnverified].Packets; n < 1000 {
		t.Errorf("%d SYNs to a closed port were dropped", n)
	}
	if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 100}); r.OK != 100 {
		t.Error(r)
	}
}

// A real source that floods by completing handshakes is held to its rate at the ACK.
func TestChallengedSourceIsHeldToItsRate(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.enable(Limit{Rate: 1, Burst: 20})
	b.policy(ChallengePolicy{When: ChallengeAlways, Unverified: DefaultUnverified})
	for range 50 {
		b.dial(b.Bank.Addr(bankPort)) // to the client it looks open: the SYN-ACK came
	}
	settle()
	c, err := b.a.Counters()
	must(t, err)
	if n := c[ClassTCP][VerdictDrop][ReasonSourceRate].Packets; n < 25 || n > 30 {
		t.Errorf("%d of 50 ACKs at once were dropped beyond a burst of 20", n)
	}
	if n := b.cookies().Accepted; n < 20 || n > 25 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestAutonomousActsInObserveModeUntilItsLeaseEnds(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	armed := auto
	armed.Armed = time.Second
	f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources})
	time.Sleep(100 * time.Millisecond)
	if n := b.txs(); n != 0 {
		t.Fatalf("%d SYNs were challenged in observe mode", n)
	}
	b.policy(armed)
	b.awaitChallenge(true, 500*time.Millisecond)
	if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 10}); r.OK != 10 {
		t.Error(r)
	}
	if c := b.control(); c.Enforce || c.Armed <= 0 || c.ChallengingFor <= 0 {
		t.Errorf("%+v", c)
	}
	time.Sleep(1100 * time.Millisecond)
	before := b.txs()
	time.Sleep(100 * time.Millisecond)
	if n := b.txs() - before; n != 0 || b.control().Challenging {
		t.Errorf("%d SYNs were challenged after the lease", n)
	}
	f.Stop()
}

func TestChallengePolicies(t *testing.T) {
	for _, p := range []ChallengePolicy{
		{When: 3}, {When: ChallengeAuto}, {When: ChallengeAlways}, {When: ChallengeNever, Armed: 1},
		{When: ChallengeAlways, Unverified: DefaultUnverified, Armed: 1},
		{When: ChallengeAuto, Unverified: DefaultUnverified, Armed: MaxLease + 1},
		{When: ChallengeAuto, Unverified: Limit{Rate: MaxTotalRate + 1, Burst: MaxTotalBurst}},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v is taken", p)
		}
	}
	for _, p := range []ChallengePolicy{{}, auto, {When: ChallengeAlways, Unverified: DefaultUnverified}} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// BenchmarkAutonomous measures the time from a flood's first packet, at full speed, to the first that is challenged.
func BenchmarkAutonomous(b *testing.B) {
	pair := newBenchPair(b)
	c := constants{seed: newSeed(), secret: newSeed(), sources: DefaultSources, challenge: true, accept: true}
	objs, err := c.load(nil)
	must(b, err)
	b.Cleanup(func() { must(b, objs.Close()) })
	must(b, objs.prepare(c, DefaultLimit, "bench", time.Now()))
	pair.challenge(b, objs, false)
	must(b, changeControl(objs.Control, func(raw *bpfWeirControl) { raw.ArmedUntilNs = monotonicNow() + uint64(time.Hour) }))
	gen := pair.generator(b, flood.Options{Target: netip.MustParseAddrPort("192.0.2.1:443")})
	memory, err := objs.Cpus.Memory()
	must(b, err)
	r := &Reader{cpus: objs.Cpus, counters: memory, scratch: make([]byte, memory.Size())}
	l, err := link.AttachXDP(link.XDPOptions{Program: objs.Weir, Interface: pair.to.Index, Flags: link.XDPDriverMode})
	must(b, err)
	b.Cleanup(func() { must(b, l.Close()) })
	var took []float64
	for b.Loop() {
		must(b, objs.Spoofing.Put(only, bpfWeirSpoofing{}))
		time.Sleep(20 * time.Millisecond) // every CPU has seen that
		before, err := r.sum()
		must(b, err)
		first := make(chan uint64)
		ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		go func() {
			for ctx.Err() == nil {
				if now, err := r.sum(); err != nil || now.Offered(ClassSYN) != before.Offered(ClassSYN) {
					break
				}
			}
			first <- monotonicNow()
		}()
		_, err = gen.Send(1 << 19) // by this thread, which is in the namespace
		must(b, err)
		began := <-first
		cancel()
		var state bpfWeirSpoofing
		must(b, objs.Spoofing.Lookup(only, &state))
		if state.Starts != 1 {
			b.Fatalf("began %d times", state.Starts)
		}
		took = append(took, float64(int64(state.SinceNs-began))/1e6)
	}
	b.ReportMetric(median(took), "ms-median")
	b.ReportMetric(slices.Max(took), "ms-worst")
}
