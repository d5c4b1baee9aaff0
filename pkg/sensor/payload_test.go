package sensor

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/wire"
)

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := wire.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func expectJSON(t *testing.T, name, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}

func TestNetworkAtRest(t *testing.T) {
	c := Config{Interface: "eth0", Tier: "xdp-native"}
	got := c.network(observation{now: start, interval: 5 * time.Second})
	const idle = `{"pps":0,"bytes_per_second":0}`
	expectJSON(t, "at rest", encode(t, got), `{"active_tcp_connections":0,"syn_packet_count":0,"timestamp":1735787045,`+
		`"interface":"eth0","tier":"xdp-native","mode":"observe","interval_seconds":5,"rates":{"fragment":`+idle+
		`,"icmp":`+idle+`,"other":`+idle+`,"rst":`+idle+`,"syn":`+idle+`,"syn_ack":`+idle+`,"tcp":`+idle+`,"udp":`+idle+`}}`)
}

func TestNetworkUnderFlood(t *testing.T) {
	var counted datapath.Counters
	counted[datapath.ClassSYN][datapath.VerdictPass][datapath.ReasonNone] = datapath.Count{Packets: 10, Bytes: 600}
	counted[datapath.ClassSYN][datapath.VerdictWouldDrop][datapath.ReasonSourceRate] = datapath.Count{Packets: 20, Bytes: 1200}
	counted[datapath.ClassSYN][datapath.VerdictDrop][datapath.ReasonSourceRate] = datapath.Count{Packets: 1000, Bytes: 60000}
	counted[datapath.ClassOther][datapath.VerdictPass][datapath.ReasonMalformed] = datapath.Count{Packets: 1, Bytes: 14}
	got := Config{}.network(observation{
		now: start.Add(250 * time.Millisecond), interval: 300 * time.Millisecond, counted: counted, syns: 1234, early: true,
		control: datapath.Control{Enforce: true, Lease: 599*time.Second + 123456*time.Microsecond},
		top: []datapath.SourceRate{
			{Source: netip.MustParsePrefix("192.0.2.7/32"), SYNsPerSecond: 1000.0 / 3, Limited: true},
			{Source: netip.MustParsePrefix("2001:db8:1::/64"), SYNsPerSecond: 2},
		},
		tcp:      hoststats.TCP{Established: 205, ListenOverflows: 1, ListenDrops: 2, SyncookiesSent: 3, SyncookiesRecv: 4, SyncookiesFailed: 5},
		tcpKnown: true,
	})
	if r := got.Rates["syn"]; r != (wire.Rate{PacketsPerSecond: 3433.33, BytesPerSecond: 206000}) {
		t.Errorf("SYNs offered %+v", r)
	}
	if r := got.Rates["other"]; r != (wire.Rate{PacketsPerSecond: 3.33, BytesPerSecond: 46.67}) {
		t.Errorf("others offered %+v", r)
	}
	got.Rates = nil
	expectJSON(t, "flood", encode(t, got), `{"active_tcp_connections":205,"syn_packet_count":1234,"timestamp":1735787045.25,`+
		`"early":true,"mode":"enforce","lease_seconds":599.12,"interval_seconds":0.3,"verdicts":{"other":{"passed":1},`+
		`"syn":{"passed":10,"would_drop":20,"dropped":1000}},"drops":{"source_rate":1000},`+
		`"would_drop":{"source_rate":20},"top_sources":[{"source":"192.0.2.7","syn_per_second":333.33,"limited":true},`+
		`{"source":"2001:db8:1::/64","syn_per_second":2,"limited":false}],"tcp":{"listen_overflows":1,"listen_drops":2,`+
		`"syncookies_sent":3,"syncookies_received":4,"syncookies_failed":5}}`)
}

func TestNetworkAsItActs(t *testing.T) {
	got := Config{}.network(observation{now: start, control: datapath.Control{Enforce: true}, tcp: hoststats.TCP{Established: 7}})
	if got.Mode != wire.ModeObserve || got.LeaseSeconds != 0 {
		t.Errorf("after the lease: %s for %v s", got.Mode, got.LeaseSeconds)
	}
	if got.Rates != nil {
		t.Errorf("rates over no time: %v", got.Rates)
	}
	if got.TCP != nil || got.ActiveTCPConnections != 7 {
		t.Errorf("TCP health that is not known: %+v, connections %d", got.TCP, got.ActiveTCPConnections)
	}
}

func TestTheLargestPayloadFits(t *testing.T) {
	o := observation{now: start, interval: time.Second, tcpKnown: true}
	for class := range o.counted {
		for v := range o.counted[class] {
			for r := range o.counted[class][v] {
				o.counted[class][v][r] = datapath.Count{Packets: 1 << 62, Bytes: 1 << 62}
			}
		}
	}
	for range maxTopSources {
		o.top = append(o.top, datapath.SourceRate{Source: netip.MustParsePrefix("2001:db8:1111:2222::/64"), SYNsPerSecond: 12345678.25})
	}
	if n := len(encode(t, Config{}.network(o))); n > wire.MaxPayload/2 {
		t.Errorf("%d bytes", n)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"root":         func(c *Config) { c.Root.Org = "a/b" },
		"no interval":  func(c *Config) { c.Interval = 0 },
		"long":         func(c *Config) { c.Interval = 2 * time.Hour },
		"negative top": func(c *Config) { c.TopSources = -1 },
		"large top":    func(c *Config) { c.TopSources = maxTopSources + 1 },
	} {
		c := DefaultConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestBeyondHostIsAFloodThatTheCardDiscards(t *testing.T) {
	var dropped, passed datapath.Counters
	dropped[datapath.ClassUDP][datapath.VerdictDrop][datapath.ReasonTotalRate].Packets = 1
	passed[datapath.ClassSYN][datapath.VerdictPass][datapath.ReasonNone].Packets = 1000
	for _, row := range []struct {
		name string
		o    observation
		want bool
	}{
		{"calm", observation{counted: passed, discards: 7}, false},
		{"SYN flood", observation{counted: passed, discards: 7, flood: true}, true},
		{"flood of another class", observation{counted: dropped, discards: 7}, true},
		{"flood that fits", observation{counted: dropped, flood: true}, false},
	} {
		got := Config{}.network(row.o)
		if got.BeyondHost != row.want || got.NICDiscards != row.o.discards {
			t.Errorf("%s: %v, %d discards", row.name, got.BeyondHost, got.NICDiscards)
		}
	}
}
