package testenv

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
)

// The net is 198.51.100.0/24 and 2001:db8::/64 (documentation, RFC 5737 and 3849); the switch is .254, the way to all
// other addresses, which end there.
const gateway = 254

// BankNet is the stage of most tests: three hosts on a switch. The bank has one interface, by which friend and foe come.
type BankNet struct {
	*Net
	Bank, Customer, Attacker, Switch *Host
}

// Bank makes a bank (198.51.100.1, 2001:db8::1), a customer (.2) and an attacker (.3), each with one interface eth0.
// Replies to spoofed sources outside the net go to the switch and are dropped there: nothing leaves the machine.
func Bank(t testing.TB) *BankNet {
	t.Helper()
	n := NewNet(t)
	b := &BankNet{Net: n, Switch: n.Host("switch")}
	b.Switch.ip(t,
		"link add br0 address "+mac(gateway).String()+" type bridge mcast_snooping 0",
		fmt.Sprintf("addr add %s/24 dev br0", ipv4(gateway)),
		fmt.Sprintf("addr add %s/64 dev br0 nodad", ipv6(gateway)),
		"link set br0 up",
	)
	b.Bank, b.Customer, b.Attacker = b.join("bank", 1), b.join("customer", 2), b.join("attacker", 3)
	return b
}

// join adds a host and cables it to the switch, whose port is called as the host. The port has an XDP program: a veth hands over
// what its peer sends by XDP_TX only if it has one itself (veth_xdp_flush).
func (b *BankNet) join(name string, number byte) *Host {
	b.t.Helper()
	h := b.Host(name)
	Cable(b.t, b.Switch, name, h, "eth0")
	b.Switch.ip(b.t, fmt.Sprintf("link set %s master br0", name))
	b.Switch.Do(b.t, func() {
		attach := func(name string) (*flood.Sink, error) { return flood.NewSink(name, true) }
		if name == "bank" {
			attach = flood.NewWire
		}
		sink, err := attach(name)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() {
			if err := sink.Close(); err != nil {
				b.t.Error(err)
			}
		})
	})
	h.configure(b.t, number)
	h.ip(b.t,
		fmt.Sprintf("route add default via %s", ipv4(gateway)),
		fmt.Sprintf("route add default via %s", ipv6(gateway)),
	)
	return h
}

// MTU sets that of the bank's and the customer's links, and of the switch, which has to carry both.
func (b *BankNet) MTU(bank, customer int) {
	b.t.Helper()
	set := func(h *Host, iface string, mtu int) { h.ip(b.t, fmt.Sprintf("link set %s mtu %d", iface, mtu)) }
	set(b.Switch, "bank", bank)
	set(b.Bank, b.Bank.Interface, bank)
	set(b.Switch, "customer", customer)
	set(b.Customer, b.Customer.Interface, customer)
}

// Pair makes two hosts on one cable, 198.51.100.1 and .2, without any other route.
func Pair(t testing.TB) (a, b *Host) {
	t.Helper()
	n := NewNet(t)
	a, b = n.Host("a"), n.Host("b")
	Cable(t, a, "eth0", b, "eth0")
	a.configure(t, 1)
	b.configure(t, 2)
	return a, b
}

// configure gives eth0 its addresses.
func (h *Host) configure(t testing.TB, number byte) {
	t.Helper()
	h.Interface, h.MAC, h.IPv4, h.IPv6 = "eth0", mac(number), ipv4(number), ipv6(number)
	h.ip(t,
		fmt.Sprintf("link set eth0 address %s", h.MAC),
		fmt.Sprintf("addr add %s/24 dev eth0", h.IPv4),
		fmt.Sprintf("addr add %s/64 dev eth0 nodad", h.IPv6),
	)
}

func mac(number byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, number} }

func ipv4(number byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, number}) }

func ipv6(number byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: number})
}
