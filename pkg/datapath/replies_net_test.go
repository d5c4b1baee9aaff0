package datapath

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// budgets enforces total budgets of next to nothing.
func (b *challenged) budgets(classes ...Class) {
	b.t.Helper()
	all := Budgets{ManagementPorts: DefaultManagementPorts}
	for _, c := range classes {
		all.Classes[c] = Budget{Total: Limit{Rate: 1, Burst: 1}}
	}
	b.Bank.Do(b.t, func() {
		s := NewSwitch(b.opts.BPFFS, b.opts.Interface)
		must(b.t, s.Budgets(all))
		must(b.t, s.Enable(DefaultLimit, time.Hour))
	})
	settle()
}

// exhausting is a bank that enforces total budgets of next to nothing for some classes, and a flood that uses them up until the
// test ends.
func exhausting(t *testing.T, frame func(b *challenged, n uint32) te.Frame, classes ...Class) *challenged {
	t.Helper()
	b := newChallenged(t)
	b.budgets(classes...)
	wire := te.NewWire(t, b.Attacker, b.Attacker.Interface)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		for n := uint32(0); ctx.Err() == nil; {
			var batch [][]byte
			for range 32 {
				f := frame(b, n)
				f.SrcMAC, f.DstMAC = b.Attacker.MAC, b.Bank.MAC
				batch = append(batch, f.Bytes())
				n++
			}
			if err := wire.Send(batch...); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		c, err := b.a.Counters()
		must(t, err)
		for _, class := range classes {
			if n := c[class][VerdictDrop][ReasonTotalRate].Packets; n < 500 {
				t.Errorf("only %d packets of %v were dropped: that was no flood", n, class)
			}
		}
	})
	time.Sleep(50 * time.Millisecond)
	return b
}

// spoofed is the n-th source, of IPv4 and IPv6 in turn.
func spoofed(b *challenged, n uint32, x te.L4) te.Frame {
	if n%2 == 0 {
		return te.Frame{Src: netip.AddrFrom4([4]byte{198, 18, byte(n >> 9), byte(n >> 1)}), Dst: b.Bank.IPv4, L4: x}
	}
	a := [16]byte{0x20, 1, 0xd, 0xb8, 0, 1}
	binary.BigEndian.PutUint32(a[12:], n)
	return te.Frame{Src: netip.AddrFrom16(a), Dst: b.Bank.IPv6, L4: x}
}

// serveUDP answers each query at the customer by as many bytes as it asks for.
func (b *challenged) serveUDP(port uint16) {
	b.t.Helper()
	b.Customer.Do(b.t, func() {
		c, err := net.ListenPacket("udp", fmt.Sprintf("[::]:%d", port))
		must(b.t, err)
		b.t.Cleanup(func() { c.Close() })
		go func() {
			q := make([]byte, 100)
			for {
				n, from, err := c.ReadFrom(q)
				if err != nil {
					return
				}
				size, _ := strconv.Atoi(string(q[:n]))
				_, _ = c.WriteTo([]byte(strings.Repeat("x", size)), from)
			}
		}()
	})
}

// ask sends queries one by one and counts those answered.
func ask(t *testing.T, c net.PacketConn, to net.Addr, n, size int) int {
	t.Helper()
	answered := 0
	answer := make([]byte, 65536)
	for range n {
		_, err := c.WriteTo([]byte(strconv.Itoa(size)), to)
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		if m, _, err := c.ReadFrom(answer); err == nil && m == size {
			answered++
		}
	}
	return answered
}

// connectedConn lets a connected socket be used like one that isn't.
type connectedConn struct{ *net.UDPConn }

func (c connectedConn) WriteTo(b []byte, _ net.Addr) (int, error) { return c.Write(b) }

func TestAnswersArriveDuringUDPFlood(t *testing.T) {
	b := exhausting(t, func(b *challenged, n uint32) te.Frame {
		f := spoofed(b, n/2, te.UDP{SrcPort: 53, DstPort: uint16(1024 + n), Payload: []byte("flood")})
		if n%2 == 1 {
			f.L4, f.Fragment = te.Raw{Protocol: 17, Payload: make([]byte, 64)}, te.Fragment{Offset: 64, ID: n}
		}
		return f
	}, ClassUDP, ClassFragment)
	b.serveUDP(53)
	for _, to := range []netip.AddrPort{b.Customer.Addr(53), b.Customer.Addr6(53)} {
		var connected net.Conn
		var free net.PacketConn
		var err error
		b.Bank.Do(t, func() {
			connected, err = net.Dial("udp", to.String())
			must(t, err)
			free, err = net.ListenPacket("udp", map[bool]string{true: "0.0.0.0:0", false: "[::]:0"}[to.Addr().Is4()])
			must(t, err)
		})
		for _, size := range []int{100, 8000} {
			if n := ask(t, connectedConn{connected.(*net.UDPConn)}, nil, 50, size); n != 50 {
				t.Errorf("%v: %d of 50 answers of %d bytes reach a connected socket", to, n, size)
			}
			if n := ask(t, free, net.UDPAddrFromAddrPort(to), 50, size); n != 50 {
				t.Errorf("%v: %d of 50 answers of %d bytes reach a socket that isn't connected", to, n, size)
			}
		}
		must(t, connected.Close())
		must(t, free.Close())
	}
}

// A service behind the same budget is protected: who asks too often isn't answered.
func TestServiceIsHeldToItsBudget(t *testing.T) {
	b := newChallenged(t)
	var all Budgets
	all.Classes[ClassUDP] = Budget{Source: Limit{Rate: 1, Burst: 10}}
	b.Bank.Do(t, func() {
		s := NewSwitch(b.opts.BPFFS, b.opts.Interface)
		must(t, s.Budgets(all))
		must(t, s.Enable(DefaultLimit, time.Hour))
		c, err := net.ListenPacket("udp", "0.0.0.0:53")
		must(t, err)
		t.Cleanup(func() { c.Close() })
		go func() {
			q := make([]byte, 100)
			for {
				_, from, err := c.ReadFrom(q)
				if err != nil {
					return
				}
				_, _ = c.WriteTo([]byte("7 bytes"), from)
			}
		}()
	})
	settle()
	c, err := b.Customer.Dial(context.Background(), "udp", b.Bank.Addr(53).String())
	must(t, err)
	defer c.Close()
	if n := ask(t, connectedConn{c.(*net.UDPConn)}, nil, 10, 7); n != 10 {
		t.Errorf("%d of 10 queries within the budget are answered", n)
	}
	for range 200 {
		_, err := c.Write([]byte("7"))
		must(t, err)
	}
	must(t, c.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	n := 0
	for {
		if _, err := c.Read(make([]byte, 100)); err != nil {
			break
		}
		n++
	}
	if n > 3 {
		t.Errorf("%d of 200 queries beyond the budget are answered", n)
	}
}

// pings sends echo requests one by one by the kernel's ping socket and counts those answered.
func (b *challenged) pings(to netip.Addr, n int) int {
	b.t.Helper()
	b.Bank.Sysctl(b.t, "net/ipv4/ping_group_range", "0 0")
	domain, proto, kind := unix.AF_INET6, unix.IPPROTO_ICMPV6, byte(128)
	if to.Is4() {
		domain, proto, kind = unix.AF_INET, unix.IPPROTO_ICMP, 8
	}
	var c net.PacketConn
	b.Bank.Do(b.t, func() {
		fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, proto)
		must(b.t, err)
		f := os.NewFile(uintptr(fd), "ping")
		c, err = net.FilePacketConn(f)
		must(b.t, err)
		must(b.t, f.Close())
	})
	defer c.Close()
	answered := 0
	for i := range n {
		_, err := c.WriteTo([]byte{kind, 0, 0, 0, 0, 0, 0, byte(i)}, &net.UDPAddr{IP: to.AsSlice()})
		must(b.t, err)
		must(b.t, c.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		answer := make([]byte, 100)
		if m, _, err := c.ReadFrom(answer); err == nil && m == 8 && answer[7] == byte(i) {
			answered++
		}
	}
	return answered
}

func TestPingsAreAnsweredDuringICMPFlood(t *testing.T) {
	b := exhausting(t, floodOfICMP, ClassICMP)
	for _, to := range []netip.Addr{b.Customer.IPv4, b.Customer.IPv6} {
		if n := b.pings(to, 50); n != 50 {
			t.Errorf("%d of 50 pings to %v are answered", n, to)
		}
	}
}

// floodOfICMP is of echo replies, echo requests and errors.
func floodOfICMP(b *challenged, n uint32) te.Frame {
	kinds := [][4]uint8{{0, 8, 3, 11}, {129, 128, 1, 2}}
	return spoofed(b, n, te.ICMP{Type: kinds[n%2][n/2%4], Body: make([]byte, 60)})
}

func TestNeighboursAreFoundDuringICMPFlood(t *testing.T) {
	b := exhausting(t, floodOfICMP, ClassICMP)
	b.echo()
	for range 5 {
		for _, h := range []*te.Host{b.Bank, b.Customer} {
			h.Run(t, "ip", "neigh", "flush", "dev", h.Interface)
		}
		roundTrip(t, b.dial(b.Bank.Addr6(bankPort)))
		roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	}
}

// A path that can't take the host's packets must be able to say so, or its connections hang.
func TestPathMTUIsLearnedDuringICMPFlood(t *testing.T) {
	b := exhausting(t, floodOfICMP, ClassICMP)
	for _, to := range []netip.AddrPort{b.Customer.Addr(9), b.Customer.Addr6(9)} {
		var c net.Conn
		b.Bank.Do(t, func() {
			var err error
			c, err = net.Dial("udp", to.String())
			must(t, err)
		})
		_, err := c.Write(make([]byte, 1400))
		must(t, err)
		from := netip.MustParseAddrPort(c.LocalAddr().String())
		sent := te.Frame{Src: from.Addr(), Dst: to.Addr(), L4: te.UDP{SrcPort: from.Port(), DstPort: 9, Payload: make([]byte, 1400)}}
		body := quoting(sent, 500)
		message := te.ICMP{Type: 2, Body: body}
		router := netip.MustParseAddr("2001:db8::fe")
		if to.Addr().Is4() {
			message.Type, message.Code, router = 3, 4, netip.MustParseAddr("198.51.100.254")
		}
		binary.BigEndian.PutUint32(body, 1290)
		must(t, te.NewWire(t, b.Customer, b.Customer.Interface).Send(te.Frame{
			SrcMAC: b.Customer.MAC, DstMAC: b.Bank.MAC, Src: router, Dst: from.Addr(), L4: message}.Bytes()))
		if route := b.Bank.Run(t, "ip", "route", "get", to.Addr().String()); !strings.Contains(route, "mtu 1290") {
			t.Errorf("the route is %s", route)
		}
		must(t, c.Close())
	}
}
