package datapath

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// visits are those of innocent clients during a flood. All must connect, and 99 of 100 in time: the veth's queue of a machine that is busy
// otherwise may overflow once, and what is lost there no program can answer. Where processors are emulated it does so all the time.
func (b *challenged) visits(to netip.AddrPort, limit time.Duration) {
	b.t.Helper()
	r := te.Connects(b.t, b.Customer, te.ConnectOptions{Target: to, N: 500, Concurrency: 5})
	if r.OK != 500 || r.Quantile(0.99) > limit && os.Getenv("VM") == "" {
		b.t.Errorf("to %v: %v", to, r)
	}
}

func TestInnocentClientsDuringRandomSources(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	old := b.dial(b.Bank.Addr(bankPort))
	b.set(ChallengeAlways)
	before := b.txs()
	f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources})
	time.Sleep(100 * time.Millisecond)
	b.visits(b.Bank.Addr(bankPort), 900*time.Millisecond) // no SYN or ACK was lost: that costs a second
	b.visits(b.Bank.Addr6(bankPort), 900*time.Millisecond)
	roundTrip(t, old)
	sent := f.Stop()
	if n := b.txs() - before; n < sent/2 || n < 1000 {
		t.Errorf("%d of %d SYNs were answered by cookies", n, sent)
	}
	// The FIN may be handed over once more, if it passed before TCP saw the ACK and on another CPU; TCP discards that.
	if c := b.cookies(); c.Accepted < 1000 || c.Accepted > 1020 || c.Refused != 0 {
		t.Errorf("cookies %+v after 1000 connections", c)
	}
}

// A connection that was open before the flood goes on all the while, and neither end has to send anything twice.
func TestOldConnectionsDuringAFlood(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.set(ChallengeNever)
	old := []net.Conn{b.dial(b.Bank.Addr(bankPort)), b.dial(b.Bank.Addr6(bankPort))}
	f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources, Rate: 10_000})
	b.set(ChallengeAlways)
	for range 50 {
		for _, c := range old {
			roundTrip(t, c)
		}
	}
	b.set(ChallengeNever)
	for _, c := range old {
		roundTrip(t, c)
		if n := tcpInfo(t, c).Total_retrans; n != 0 {
			t.Errorf("%v sent %d segments again", c.LocalAddr(), n)
		}
	}
	if f.Stop() == 0 {
		t.Error("there was no flood")
	}
	if state := b.Bank.Run(t, "ss", "-tieno", "state", "established"); strings.Contains(state, "retrans") || strings.Count(state, "rto:") != 2 {
		t.Errorf("the bank sent segments again: %s", state)
	}
}

func TestInnocentClientsDuringLiveFrames(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	old := b.dial(b.Bank.Addr(bankPort))
	b.set(ChallengeAlways)
	before := b.txs()
	var f *flood.Flood
	b.Switch.Run(t, "ip", "link", "add", "idle", "up", "type", "veth", "peer", "name", "other")
	b.Switch.Do(t, func() {
		// From the bank's port of the switch, over the wire that friend and foe share.
		var err error
		f, err = flood.New(flood.Options{
			Interface: "bank", Idle: "idle", Source: b.Attacker.MAC, Destination: b.Bank.MAC, Target: b.Bank.Addr(bankPort),
			FirstSource: b.Attacker.IPv4,
		})
		must(t, err)
	})
	t.Cleanup(func() { must(t, f.Close()) })
	// No more at once than fits the veth's queue of 256 beside the customer's: what is lost there no program can answer.
	stop := make(chan struct{})
	start := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		b.Switch.Do(t, func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := f.Send(128); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	})
	time.Sleep(100 * time.Millisecond)
	b.visits(b.Bank.Addr(bankPort), te.ConnectTimeout) // a queue may still overflow, and a SYN be sent again
	roundTrip(t, old)
	close(stop)
	wg.Wait()
	n := b.txs() - before
	t.Logf("%d SYNs a second were answered by cookies", int(float64(n)/time.Since(start).Seconds()))
	if n < 20_000 {
		t.Errorf("only %d SYNs were answered by cookies", n)
	}
}

func TestForgedACKsAreDropped(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	old := b.dial(b.Bank.Addr(bankPort))
	b.set(ChallengeAlways)
	const n = 2000
	var frames [][]byte
	for i := range uint32(n) {
		f := te.Frame{
			SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), Dst: b.Bank.IPv4,
			L4: te.TCP{SrcPort: 1234, DstPort: bankPort, Seq: i, Ack: i * 0x9e3779b9, Flags: te.ACK},
		}
		if i%5 == 0 { // nobody listens there
			s := f.L4.(te.TCP)
			s.DstPort = uint16(10_000 + i)
			f.L4 = s
		}
		if i%2 == 0 {
			s := f.L4.(te.TCP)
			s.Options = te.TCPOptions(te.NOP(), te.NOP(), te.Timestamps(i, i*0x85ebca6b))
			f.L4 = s
		}
		if i%3 == 0 {
			f.Src, f.Dst = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 14: byte(i >> 8), 15: byte(i)}), b.Bank.IPv6
		}
		frames = append(frames, f.Bytes())
	}
	te.SendFrames(t, b.Attacker, b.Attacker.Interface, frames)
	c, err := b.a.Counters()
	must(t, err)
	if got := c[ClassTCP][VerdictDrop][ReasonCookie].Packets; got != n {
		t.Errorf("%d of %d forged ACKs were dropped", got, n)
	}
	roundTrip(t, old)
	if got := b.cookies(); got != (Cookies{}) {
		t.Errorf("cookies %+v", got)
	}
}

func TestEndOfTheChallengeLosesNobody(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.set(ChallengeAlways)
	done := make(chan te.Result)
	go func() {
		done <- te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 2000, Concurrency: 4})
	}()
	for range 10 {
		b.set(ChallengeNever)
		b.set(ChallengeAlways)
	}
	if r := <-done; r.Failed != 0 {
		t.Error(r)
	}
}
