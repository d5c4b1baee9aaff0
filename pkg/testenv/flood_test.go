package testenv

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// received counts the frames that have come to the host.
func received(t *testing.T, h *Host) uint64 {
	t.Helper()
	a, err := openArrivals(h)
	if err != nil {
		t.Fatal(err)
	}
	defer a.dev.Close()
	n, err := a.count()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSendLosesNothing(t *testing.T) {
	const n = 10000
	bank := Bank(t)
	a, b := Pair(t)
	for _, tt := range []struct {
		name     string
		from, to *Host
		size     int
	}{
		{"cable", b, a, 74},
		{"switch", bank.Attacker, bank.Bank, 74},
		{"long frames", bank.Attacker, bank.Bank, 1514},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames := make([][]byte, n)
			for i := range frames {
				f := NewSYN(netip.AddrPortFrom(tt.from.IPv4, port(uint64(i))), tt.to.Addr(9))
				f.SrcMAC, f.DstMAC = tt.from.MAC, tt.to.MAC
				frames[i] = pad(f.Bytes(), tt.size)[:tt.size]
			}
			for cpu := range 2 {
				before := received(t, tt.to)
				OnCPU(t, cpu, func() { SendFrames(t, tt.from, "eth0", frames) })
				// IPv6 may say a word of its own.
				if got := received(t, tt.to) - before; got < n || got > n+20 {
					t.Errorf("CPU %d: received %d of %d", cpu, got, n)
				}
			}
		})
	}
}

func TestSendRefusesWhatTheInterfaceRefuses(t *testing.T) {
	_, b := Pair(t)
	if err := NewWire(t, b, "eth0").Send(make([]byte, 3000)); err == nil || !strings.Contains(err.Error(), "3000 bytes") {
		t.Error(err)
	}
}

func TestSendTellsLosses(t *testing.T) {
	n := Bank(t)
	n.Switch.Run(t, "ip", "link", "set", "bank", "nomaster")
	f := NewSYN(n.Attacker.Addr(1025), n.Bank.Addr(9))
	f.DstMAC = n.Bank.MAC
	// Many, since IPv6 may say a word of its own, which counts.
	err := NewWire(t, n.Attacker, "eth0").Send(slices.Repeat([][]byte{f.Bytes()}, 100)...)
	if err == nil || !strings.Contains(err.Error(), "frames did not arrive at bank") {
		t.Error(err)
	}
}

func TestFloodReachesTheBank(t *testing.T) {
	n := Bank(t)
	for _, tt := range []struct {
		name    string
		target  netip.AddrPort
		sources int
		rate    int
	}{
		{"one source", n.Bank.Addr(80), 0, 0},
		{"random sources", n.Bank.Addr(80), RandomSources, 0},
		{"paced", n.Bank.Addr(80), RandomSources, 2000},
		{"1000 sources", n.Bank.Addr(80), 1000, 5000},
		{"one source, IPv6", n.Bank.Addr6(80), 0, 5000},
		{"random sources, IPv6", n.Bank.Addr6(80), RandomSources, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := received(t, n.Bank)
			sent := Flood(t, n.Attacker, n.Bank, FloodOptions{
				Target: tt.target, Sources: tt.sources, Rate: tt.rate, Duration: 500 * time.Millisecond,
			}).Wait()
			got := received(t, n.Bank) - before
			t.Logf("sent %d, received %d", sent, got)
			if sent < 100 || got < sent/2 {
				t.Errorf("received %d of %d", got, sent)
			}
			if tt.rate > 0 && sent > uint64(tt.rate) {
				t.Errorf("sent %d in half a second at %d per second", sent, tt.rate)
			}
		})
	}
	// Backscatter must not come back: not to the customer, and not through the switch.
	if got := received(t, n.Customer); got > 1000 {
		t.Errorf("the customer received %d packets that weren't for it", got)
	}
}

func TestSourcesTakeTurns(t *testing.T) {
	h := &Host{IPv4: ipv4(3), IPv6: ipv6(3)}
	for _, tt := range []struct {
		name     string
		target   netip.AddrPort
		sources  int
		packets  uint64
		want     int // prefixes
		prefixes int // bits
	}{
		{"one", dst4, 0, 100, 1, 32},
		{"thousand", dst4, 1000, 5000, 1000, 32},
		{"random", dst4, RandomSources, 5000, 4800, 32}, // of 131,072: 2 % meet by chance
		{"one, IPv6", dst6, 0, 100, 1, 64},
		{"thousand, IPv6", dst6, 1000, 5000, 1000, 64},
		{"random, IPv6", dst6, RandomSources, 5000, 4999, 64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := map[netip.Prefix]int{}
			pairs := map[netip.AddrPort]bool{}
			for i := range tt.packets {
				s := source(h, FloodOptions{Target: tt.target, Sources: tt.sources}, i)
				p, err := s.Addr().Prefix(tt.prefixes)
				if err != nil {
					t.Fatal(err)
				}
				seen[p]++
				pairs[s] = true
			}
			if len(seen) < tt.want || tt.sources >= 0 && len(seen) != tt.want {
				t.Errorf("%d sources, want %d", len(seen), tt.want)
			}
			if len(pairs) != int(tt.packets) {
				t.Errorf("%d different sources and ports in %d packets", len(pairs), tt.packets)
			}
		})
	}
}

// The kernel is the judge of what the builder makes.
func TestKernelAnswersFrames(t *testing.T) {
	a, b := Pair(t)
	for _, tt := range []struct {
		name     string
		src, dst netip.Addr
	}{
		{"IPv4", b.IPv4, a.IPv4},
		{"IPv6", b.IPv6, a.IPv6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a.Listen(t, netip.AddrPortFrom(tt.dst, 80))
			before := snmp(t, b, "InSegs")
			f := NewSYN(netip.AddrPortFrom(tt.src, 1025), netip.AddrPortFrom(tt.dst, 80))
			f.SrcMAC, f.DstMAC = b.MAC, a.MAC
			SendFrames(t, b, "eth0", [][]byte{f.Bytes()})
			Eventually(t, 5*time.Second, "SYN-ACK", func() bool { return snmp(t, b, "InSegs") > before })
			if n := snmp(t, a, "InCsumErrors"); n != 0 {
				t.Errorf("%d wrong checksums", n)
			}
		})
	}
}

// snmp reads a counter of the host's TCP, over IPv4 and IPv6.
func snmp(t *testing.T, h *Host, name string) uint64 {
	t.Helper()
	var rows [][]string
	for line := range strings.Lines(h.Run(t, "cat", "/proc/net/snmp")) {
		if rest, ok := strings.CutPrefix(line, "Tcp:"); ok {
			rows = append(rows, strings.Fields(rest))
		}
	}
	n, err := strconv.ParseUint(rows[1][slices.Index(rows[0], name)], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
