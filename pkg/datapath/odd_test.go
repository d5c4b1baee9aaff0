package datapath

import (
	"net"
	"net/netip"
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
