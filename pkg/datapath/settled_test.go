package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// ageNotes has every CPU note since long ago who may have a socket that isn't counted.
func ageNotes(t testing.TB, cpus *ebpf.Map) {
	t.Helper()
	memory, err := cpus.Memory()
	must(t, err)
	long := binary.NativeEndian.AppendUint64(nil, 1)
	for cpu := range int64(cpus.MaxEntries()) {
		_, err := memory.WriteAt(long, cpu*int64(cpuBytes)+int64(unsafe.Offsetof(bpfWeirCpu{}.NotingNs)))
		must(t, err)
	}
}

// relyOnNotes has every CPU rely on them.
func (b *challenged) relyOnNotes() {
	b.t.Helper()
	syn := te.NewSYN(netip.MustParseAddrPort("198.18.0.1:1"), b.Bank.Addr(bankPort))
	syn.SrcMAC, syn.DstMAC = b.Attacker.MAC, b.Bank.MAC
	show := func() {
		for cpu := range runtime.NumCPU() {
			te.OnCPU(b.t, cpu, func() { te.SendFrames(b.t, b.Attacker, b.Attacker.Interface, [][]byte{syn.Bytes()}) })
		}
	}
	memory, err := b.a.cpus.Memory()
	must(b.t, err)
	te.Eventually(b.t, te.ConnectTimeout, "every CPU relying on its notes", func() bool {
		show()
		ageNotes(b.t, b.a.cpus)
		settle()
		show()
		for cpu := range int64(runtime.NumCPU()) {
			var flag [4]byte
			_, err := memory.ReadAt(flag[:], cpu*int64(cpuBytes)+int64(unsafe.Offsetof(bpfWeirCpu{}.Noted)))
			must(b.t, err)
			if flag[0] == 0 {
				return false
			}
		}
		return true
	})
}

// forget empties the table of verified sources, as more of them than it holds do.
func (b *challenged) forget() {
	b.t.Helper()
	m := b.openMap(bpfMapVerified)
	for i := range m.MaxEntries() {
		must(b.t, m.Put(i, bpfWeirSet{}))
	}
}

// When a challenge has lasted for a while, ACKs of sources without a socket aren't looked up any more. Connections live on, opened
// whenever and by whichever end, though their sources be forgotten; so do new ones, and the kernel's handshakes with known sources.
func TestConnectionsLiveInALongChallenge(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.serve(b.Customer.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), 443)))
	must(t, b.a.Close())
	b.Bank.Do(t, func() {
		_, err := Unload(b.opts.BPFFS, b.opts.Interface)
		must(t, err)
	})
	var all []net.Conn
	connect := func() {
		for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
			all = append(all, b.dial(to))
		}
		for _, to := range []netip.AddrPort{b.Customer.Addr(443), b.Customer.Addr6(443)} {
			c, err := b.Bank.Dial(t.Context(), "tcp", to.String())
			must(t, err)
			t.Cleanup(func() { c.Close() })
			all = append(all, c)
		}
	}
	connect() // before weir
	b.Bank.Do(t, func() {
		var err error
		b.a, err = Attach(b.opts)
		must(t, err)
	})
	connect() // before the challenge
	b.enable(Limit{Rate: MaxRate, Burst: MaxBurst})
	b.policy(auto)
	f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources, Rate: 20_000})
	b.awaitChallenge(true, te.ConnectTimeout)
	b.relyOnNotes()
	connect() // during it, from known sources and by cookies
	b.forget()
	connect()
	b.forget()
	for i, c := range all {
		roundTrip(t, c)
		if t.Failed() {
			t.Fatalf("connection %d", i)
		}
	}
	before := b.forged()
	var forged [][]byte
	const n = 200
	for i := range uint32(n) {
		forged = append(forged, te.Frame{SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: netip.AddrFrom4([4]byte{198, 18, 1, byte(i)}),
			Dst: b.Bank.IPv4, L4: te.TCP{SrcPort: 443, DstPort: bankPort + uint16(i%2), Seq: i, Ack: i, Flags: te.ACK}}.Bytes())
	}
	te.SendFrames(t, b.Attacker, b.Attacker.Interface, forged)
	if got := b.forged() - before; got != n {
		t.Errorf("%d of %d forged ACKs were dropped", got, n)
	}
	if f.Stop() == 0 {
		t.Error("no flood")
	}
}

// Handshakes that the kernel has begun end in a challenge that begins meanwhile: whose SYNs have passed is noted, and only theirs are
// looked up.
func TestHandshakesIntoAChallenge(t *testing.T) {
	te.Tool(t, "nft")
	for name, noted := range map[string]bool{"noted": true, "forgotten": false} {
		t.Run(name, func(t *testing.T) {
			b := newChallenged(t)
			b.echo()
			b.relyOnNotes()
			b.Customer.Run(t, "nft", "add table inet late; add chain inet late out { type filter hook output priority 0; }; "+
				"add rule inet late out tcp flags & (syn | ack) == ack drop")
			conns := []net.Conn{b.dial(b.Bank.Addr(bankPort)), b.dial(b.Bank.Addr6(bankPort))}
			if !noted {
				m, old := b.openMap(bpfMapUncounted), byte(monotonicNow()>>(tickShift+24))-100
				for i := range m.MaxEntries() {
					must(t, m.Put(i, bytes.Repeat([]byte{old}, int(m.ValueSize()))))
				}
			}
			b.set(ChallengeAlways)
			b.Customer.Run(t, "nft", "delete table inet late")
			for _, c := range conns {
				if noted {
					roundTrip(t, c)
				}
			}
			if !noted {
				te.Eventually(t, te.ConnectTimeout, "their ACKs taken for forged ones", func() bool { return b.forged() >= 2 })
			} else if n := b.forged(); n != 0 {
				t.Errorf("%d ACKs were taken for forged", n)
			}
			if c := b.cookies(); c.Accepted != 0 {
				t.Errorf("cookies %+v: the kernel was to answer the SYNs", c)
			}
		})
	}
}

// What a peer says last in a connection that the host has opened and ended is no forgery, though no socket is counted for it any more.
func TestEndedConnectionsEndInAChallenge(t *testing.T) {
	b := newChallenged(t)
	b.set(ChallengeAlways)
	b.relyOnNotes()
	l := b.Customer.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), 443))
	for _, to := range []netip.AddrPort{b.Customer.Addr(443), b.Customer.Addr6(443)} {
		ours, err := b.Bank.Dial(t.Context(), "tcp", to.String())
		must(t, err)
		theirs, err := l.Accept()
		must(t, err)
		must(t, ours.Close())
		_, err = theirs.Read(make([]byte, 1)) // the end of it
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		settle()
		must(t, theirs.Close())
	}
	te.Eventually(t, te.ConnectTimeout, "the peer's sockets closed", func() bool {
		return strings.TrimSpace(b.Customer.Run(t, "ss", "-Htn", "state", "last-ack")) == ""
	})
	if n := b.forged(); n != 0 {
		t.Errorf("%d segments were taken for forged", n)
	}
}

// The kernel answers an allowed source's SYN; its ACK comes when the source, or who forges it, is over the ceiling.
func TestHandshakesAcrossTheCeiling(t *testing.T) {
	te.Tool(t, "nft")
	b := newChallenged(t)
	b.echo()
	b.set(ChallengeAlways)
	b.relyOnNotes()
	b.Bank.Do(t, func() {
		k, err := NewListKeeper(b.opts.BPFFS, b.opts.Interface, ListSettings{Ceiling: 10})
		must(t, err)
		must(t, k.Put(entry(ListAllow, "198.51.100.2/32", time.Hour), entry(ListAllow, "2001:db8::2/128", time.Hour)))
		must(t, k.Hold(time.Hour))
	})
	b.Customer.Run(t, "nft", "add table inet late; add chain inet late out { type filter hook output priority 0; }; "+
		"add rule inet late out tcp flags & (syn | ack) == ack drop")
	conns := []net.Conn{b.dial(b.Bank.Addr(bankPort)), b.dial(b.Bank.Addr6(bankPort))}
	var forged [][]byte
	for _, f := range []te.Frame{{Src: b.Customer.IPv4, Dst: b.Bank.IPv4}, {Src: b.Customer.IPv6, Dst: b.Bank.IPv6}} {
		f.SrcMAC, f.DstMAC, f.L4 = b.Attacker.MAC, b.Bank.MAC, te.UDP{SrcPort: 9, DstPort: 9}
		forged = append(forged, slices.Repeat([][]byte{f.Bytes()}, 200)...)
	}
	wire, stop := te.NewWire(t, b.Attacker, b.Attacker.Interface), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := wire.Send(forged...); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(end)
	b.Customer.Run(t, "nft", "delete table inet late")
	for _, c := range conns {
		roundTrip(t, c)
	}
	end()
	if c := b.cookies(); c.Accepted != 0 {
		t.Errorf("cookies %+v: the kernel was to answer the SYNs", c)
	}
	if n := b.forged(); n != 0 {
		t.Errorf("%d ACKs were taken for forged", n)
	}
	counters, err := b.a.Counters()
	must(t, err)
	if counters[ClassUDP][VerdictPass][ReasonAllowed].Packets > 1000 {
		t.Error("the ceiling wasn't reached")
	}
}
