package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// ageChallenge makes the challenge that goes on an old one, on every CPU.
func ageChallenge(t testing.TB, cpus *ebpf.Map) {
	t.Helper()
	memory, err := cpus.Memory()
	must(t, err)
	long := binary.NativeEndian.AppendUint64(nil, 1)
	for cpu := range int64(cpus.MaxEntries()) {
		_, err := memory.WriteAt(long, cpu*int64(cpuBytes)+int64(unsafe.Offsetof(bpfWeirCpu{}.ChallengedNs)))
		must(t, err)
	}
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
	time.Sleep(100 * time.Millisecond) // every CPU has seen it
	ageChallenge(t, b.a.cpus)
	settle()
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
