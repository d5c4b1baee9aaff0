package hoststats

import (
	"strings"
	"testing"
)

const routeHeader = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

// v4 is a line of /proc/net/route.
func v4(iface, destination, flags, metric, mask string) string {
	return strings.Join([]string{iface, destination, "010200C0", flags, "0", "0", metric, mask, "0", "0", "0"}, "\t") + "   \n"
}

// v6 is a line of /proc/net/ipv6_route.
func v6(iface, length, flags, metric string) string {
	any6 := strings.Repeat("0", 32)
	return strings.Join([]string{any6, length, any6, "00", any6, metric, "00000001", "00000000", flags, "   " + iface}, " ") + "\n"
}

func TestDefaultRoute(t *testing.T) {
	up := func(iface string) string { return v4(iface, "00000000", "0003", "100", "00000000") }
	for _, c := range []struct{ name, table, want string }{
		{"nothing", "", ""},
		{"only a header", routeHeader, ""},
		{"one", routeHeader + up("eth0"), "eth0"},
		{"a network comes first", routeHeader + v4("eth1", "0002000C", "0001", "0", "00FFFFFF") + up("eth0"), "eth0"},
		{"only networks", routeHeader + v4("eth1", "0002000C", "0001", "0", "00FFFFFF"), ""},
		{"half of everything", routeHeader + v4("tun0", "00000000", "0003", "0", "00000080"), ""},
		{"the lower metric", up("wlan0") + v4("eth0", "00000000", "0003", "50", "00000000"), "eth0"},
		{"the first of equals", up("eth0") + up("eth1"), "eth0"},
		{"a metric above 2^31 is no small one", v4("far0", "00000000", "0003", "-1", "00000000") + up("eth0"), "eth0"},
		{"flags with a letter", v4("eth0", "00000000", "000B", "0", "00000000"), "eth0"},
		{"down", v4("eth0", "00000000", "0002", "0", "00000000"), ""},
		{"unreachable", v4("eth0", "00000000", "0201", "0", "00000000"), ""},
		{"blackhole", v4("*", "00000000", "0201", "0", "00000000") + up("eth0"), "eth0"},
		{"loopback", v4("lo", "00000000", "0001", "0", "00000000"), ""},
		{"broken lines don't hide it", "eth9\t0\n\n\x00\n" + v4("eth9", "x", "0003", "0", "0") + up("eth0"), "eth0"},
	} {
		got, err := defaultRoute(strings.NewReader(c.table), parseRoute)
		if got != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestDefaultRoute6(t *testing.T) {
	unreachable := v6("lo", "00", "00200200", "ffffffff")
	for _, c := range []struct{ name, table, want string }{
		{"nothing", "", ""},
		{"only what the kernel always has", unreachable, ""},
		{"one", unreachable + v6("eth0", "00", "00450003", "00000400"), "eth0"},
		{"a prefix", v6("eth0", "40", "00000001", "00000100") + unreachable, ""},
		{"the lower metric", v6("wlan0", "00", "00000003", "00000400") + v6("eth0", "00", "00000003", "00000064"), "eth0"},
		{"unreachable", v6("eth0", "00", "00200201", "00000064"), ""},
		{"broken", "0 00 0 00 0 zz 0 0 0 eth0\n", ""},
	} {
		got, err := defaultRoute(strings.NewReader(c.table), parseRoute6)
		if got != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func FuzzDefaultRoute(f *testing.F) {
	f.Add(routeHeader + v4("eth0", "00000000", "0003", "100", "00000000"))
	f.Add(v6("eth0", "00", "00450003", "00000400"))
	f.Add("eth0\t0\t0\t1\t0\t0\t-9223372036854775808\t0\n")
	f.Add(strings.Repeat("x", 1<<17))
	f.Fuzz(func(t *testing.T, table string) {
		for _, parse := range []func([]string) (route, bool){parseRoute, parseRoute6} {
			iface, _ := defaultRoute(strings.NewReader(table), parse)
			if iface == "lo" || iface == "*" || strings.ContainsAny(iface, " \t\n") || !strings.Contains(table, iface) {
				t.Errorf("interface %q", iface)
			}
		}
	})
}
