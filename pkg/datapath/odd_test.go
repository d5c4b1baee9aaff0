package datapath

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

var noOperations = []byte{1, 1, 1, 1} // RFC 791 section 3.1

// dialWithIPOptions connects from a socket that puts IP options into all its packets.
func (b *challenged) dialWithIPOptions() net.Conn {
	b.t.Helper()
	d := net.Dialer{Timeout: te.ConnectTimeout, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, string(noOperations))
		})
		if e != nil {
			return e
		}
		return err
	}}
	var c net.Conn
	b.Customer.Do(b.t, func() {
		var err error
		c, err = d.Dial("tcp", b.Bank.Addr(bankPort).String())
		must(b.t, err)
	})
	b.t.Cleanup(func() { c.Close() })
	return c
}

// No cookie can answer a SYN with IP options, extension headers or in fragments. Who floods with such evades nothing; a connection
// that has them lives.
func TestOddSegmentsEvadeNoChallenge(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.enable(Limit{Rate: 10_000, Burst: 10_000})
	b.policy(auto)
	const n = 5000
	for name, change := range map[string]func(*te.Frame){
		"IPv4 options": func(f *te.Frame) { f.Options = noOperations },
		"an extension header": func(f *te.Frame) {
			f.Src, f.Dst = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 4: f.Src.As4()[2], 5: f.Src.As4()[3]}), b.Bank.IPv6
			f.Extensions = []te.Extension{{Type: te.DestinationOpt, Body: []byte{1, 4, 0, 0, 0, 0}}}
		},
		"a first fragment": func(f *te.Frame) { f.Fragment = te.Fragment{More: true, ID: 7} },
	} {
		old := b.dialWithIPOptions()
		roundTrip(t, old)
		for _, row := range []struct {
			flags  te.Flags
			class  Class
			reason Reason
		}{{te.SYN, ClassSYN, ReasonUnverified}, {te.ACK, ClassTCP, ReasonCookie}} {
			var frames [][]byte
			for i := range uint16(n) {
				f := te.Frame{SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}),
					Dst: b.Bank.IPv4, L4: te.TCP{SrcPort: 1234, DstPort: bankPort, Seq: 1, Ack: uint32(i), Flags: row.flags, Payload: make([]byte, 20)}}
				change(&f)
				frames = append(frames, f.Bytes())
			}
			before, err := b.a.Counters()
			must(t, err)
			te.SendFrames(t, b.Attacker, b.Attacker.Interface, frames)
			after, err := b.a.Counters()
			must(t, err)
			if got := after[row.class][VerdictDrop][row.reason].Packets - before[row.class][VerdictDrop][row.reason].Packets; got < n/2 {
				t.Errorf("%s, %v: %d of %d were dropped", name, row.class, got, n)
			}
		}
		roundTrip(t, old)
		roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	}
}

// The kernel puts fragments together that are too short for TCP's flags (RFC 1858): a SYN in such is a SYN.
func TestTinyFragmentsEvadeNoLimit(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	halfOpen := func() int {
		return strings.Count(b.Bank.Run(t, "ss", "-tnH", "state", "syn-recv"), "\n")
	}
	b.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "0")
	var port uint16
	send := func(bytes int) {
		var frames [][]byte
		port += 1000
		for i := range uint16(200) {
			f := te.NewSYN(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, 1}), port+i), b.Bank.Addr(bankPort))
			f.SrcMAC, f.DstMAC = b.Attacker.MAC, b.Bank.MAC
			whole := f.Bytes()[34:]
			for _, piece := range []te.Fragment{{More: true, ID: uint32(i)}, {Offset: uint16(bytes), ID: uint32(i)}} {
				f.Fragment = piece
				f.L4 = te.Raw{Protocol: 6, Payload: whole[:bytes]}
				if !piece.More {
					f.L4 = te.Raw{Protocol: 6, Payload: whole[bytes:]}
				}
				frames = append(frames, f.Bytes())
			}
		}
		te.SendFrames(t, b.Attacker, b.Attacker.Interface, frames)
		settle()
	}
	b.enable(Limit{Rate: 1, Burst: 10})
	for _, bytes := range []int{8, 16, 24} {
		b.forgetSources()
		before := halfOpen()
		send(bytes)
		if n := halfOpen() - before; n > 20 {
			t.Errorf("%d of 200 SYNs in fragments of %d bytes came through, beyond a burst of 10", n, bytes)
		}
	}
	b.forgetSources()
	b.Bank.Do(t, func() {
		must(t, NewSwitch(b.opts.BPFFS, b.opts.Interface).Budgets(Budgets{ManagementPorts: []uint16{bankPort}}))
	})
	settle()
	before := halfOpen()
	send(8)
	if n := halfOpen() - before; n < 50 {
		t.Errorf("%d of 200 SYNs to a management port came through", n)
	}
}

// forgetSources empties the table by which SYNs are limited.
func (b *challenged) forgetSources() {
	b.t.Helper()
	m := b.openMap(bpfMapSources)
	for i := range m.MaxEntries() {
		must(b.t, m.Put(i, bpfWeirSet{}))
	}
}

// No client sends a SYN with RST or FIN, and no listener takes one.
func TestSYNsWithOddFlagsEvadeNoChallenge(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.enable(Limit{Rate: 10_000, Burst: 10_000})
	b.policy(auto)
	const n = 5000
	for _, flags := range []te.Flags{te.SYN | te.FIN, te.SYN | te.RST} {
		var frames [][]byte
		for i := range uint16(n) {
			f := te.Frame{SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}),
				Dst: b.Bank.IPv4, L4: te.TCP{SrcPort: 1234, DstPort: bankPort, Seq: 1, Flags: flags}}
			frames = append(frames, f.Bytes())
		}
		before, err := b.a.Counters()
		must(t, err)
		te.SendFrames(t, b.Attacker, b.Attacker.Interface, frames)
		after, err := b.a.Counters()
		must(t, err)
		if got := after[ClassSYN][VerdictDrop][ReasonUnverified].Packets - before[ClassSYN][VerdictDrop][ReasonUnverified].Packets; got < n/2 {
			t.Errorf("flags %x: %d of %d were dropped", flags, got, n)
		}
	}
	roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
}
