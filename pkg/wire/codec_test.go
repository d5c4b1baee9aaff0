package wire

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2024, 10, 23, 15, 28, 47, 820_000_000, time.UTC)

// TestGolden fixes what goes over the wire, byte for byte, and that reading it gives the same again.
func TestGolden(t *testing.T) {
	at := Timestamp(now)
	for _, row := range []struct {
		name   string
		value  any
		decode func([]byte) (any, error)
	}{
		{"cpu", CPU{91.44, at}, as(DecodeCPU)},
		{"ram", RAM{43.7, at}, as(DecodeRAM)},
		{"network_minimal", Network{ActiveTCPConnections: 205, SYNPacketCount: 482, Timestamp: at}, as(DecodeNetwork)},
		{"network", Network{
			ActiveTCPConnections: 392, SYNPacketCount: 789, Timestamp: at, Early: true, Interface: "eth0", Tier: "xdp-native",
			Mode: ModeEnforce, LeaseSeconds: 599.5, IntervalSeconds: 5,
			Rates:      map[string]Rate{"syn": {157.8, 11677.2}, "udp": {1, 80}},
			Verdicts:   map[string]Verdicts{"syn": {96, 3, 600, 90}, "udp": {Passed: 5}},
			Drops:      map[string]uint64{"source_rate": 600},
			WouldDrop:  map[string]uint64{"source_rate": 3},
			Challenged: map[string]uint64{"unverified": 90}, Challenging: true, ChallengeStarts: 2, NICDiscards: 12, BeyondHost: true,
			Seconds:    []Second{{at - 1, 150, 120, 18}, {Timestamp: at, Offered: 3}},
			TopSources: []Source{{"198.51.100.3", 150, true}, {"2001:db8:1::/64", 2.5, false}},
			TCP:        &TCPHealth{1, 2, 3, 4, 5},
		}, as(DecodeNetwork)},
		{"alert", Alert{at, "SYN packet count exceeded threshold", AlertReminder, "syn_packet_count", 789, 700, "threshold", at - 60, 12}, as(DecodeAlert)},
		{"command_bare", Command{Command: EnableRateLimiting}, as(DecodeCommand)},
		{"command", Command{EnableRateLimiting, "7", "monitor", 100, 200, 600, "SYN flood <&>", at, "", 0, ""}, as(DecodeCommand)},
		{"command_block", Command{Command: BlockSource, ID: "8", Origin: "ctl", TTLSeconds: 60, Reason: "scans", Timestamp: at, Source: "192.0.2.0/24"}, as(DecodeCommand)},
		{"status", Status{at, EnableRateLimiting, Success, "each source is held to 100 SYN/s", "7", "monitor", "operator-k3v2q2xd", StateOn, 100, 200, at + 600, "monitor", true, "", "controller-k3v2q2xd ends in 9 days", nil, 0, false}, as(DecodeStatus)},
		{"status_again", Status{Timestamp: at, Command: DisableRateLimiting, Status: Success, Detail: "rate limiting is off", Origin: "alice", State: StateOff, Again: true}, as(DecodeStatus)},
		{"status_waiting", Status{Timestamp: at, Command: DisableRateLimiting, Status: Failure, Detail: "not done yet: alice asks for it", ID: "9", State: StateOn, ApprovalUntil: at + 120}, as(DecodeStatus)},
		{"command_scale", Command{Command: ScaleUpServers, ID: "10", Origin: "web", Timestamp: at, Count: 2}, as(DecodeCommand)},
		{"status_scaling", Status{
			Timestamp: at, Command: ScaleUpServers, Status: Success, Detail: "3 servers instead of 2", ID: "10", Origin: "web",
			Servers: &Servers{Running: 3, Min: 1, Max: 4, Added: map[string]int{"monitor": 1}, TakesSeconds: 250},
		}, as(DecodeStatus)},
		{"presence", Presence{Online, at, "0.1.0", "bank1", "eth0", "xdp-native", Plaintext, "", false}, as(DecodePresence)},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Encode(row.value)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", row.name+".json")
			if *update {
				if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if want = bytes.TrimSuffix(want, []byte("\n")); !bytes.Equal(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if back, err := row.decode(want); err != nil || !reflect.DeepEqual(back, row.value) {
				t.Errorf("read back: %+v, %v", back, err)
			}
		})
	}
}

func as[T any](f func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return f(b) }
}

// TestCustomersPayloads are those of the system that weir replaces.
func TestCustomersPayloads(t *testing.T) {
	cpu, err := DecodeCPU([]byte(`{"cpu_usage": 91.44, "timestamp": 1729697327.8228045}`))
	if err != nil || cpu.Usage != 91.44 {
		t.Errorf("%+v, %v", cpu, err)
	}
	ram, err := DecodeRAM([]byte(`{"ram_usage": 43.7, "timestamp": 1729697327.8228045}`))
	if err != nil || ram.Usage != 43.7 {
		t.Errorf("%+v, %v", ram, err)
	}
	n, err := DecodeNetwork([]byte(`{"active_tcp_connections": 205, "syn_packet_count": 482, "timestamp": 1729697327.8228045, "new": [1]}`))
	if err != nil || n.ActiveTCPConnections != 205 || n.SYNPacketCount != 482 {
		t.Errorf("%+v, %v", n, err)
	}
	a, err := DecodeAlert([]byte(`{"timestamp": 1729697427.879354, "alert": "SYN packet count exceeded threshold"}`))
	if err != nil || a.Alert == "" {
		t.Errorf("%+v, %v", a, err)
	}
	c, err := DecodeCommand([]byte(` {"command": "enable_rate_limiting"} `))
	if err != nil || c.Command != EnableRateLimiting {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestMetricsRefused(t *testing.T) {
	for _, row := range []struct {
		decode func([]byte) (any, error)
		bad    []string
	}{
		{as(DecodeCPU), []string{``, `7`, `[]`, `{}`, `{"cpu_usage": null}`, `{"cpu_usage": "7"}`, `{"cpu_usage": -1}`, `{"cpu_usage": 101}`,
			`{"cpu_usage": 1e999}`, `{"cpu_usage": NaN}`, `{"cpu_usage": 7, "cpu_usage": 8}`, `{"cpu_usage": 7} {}`, "{\"cpu_usage\": 7}\v", "{\"cpu_usage\": 7}\u00a0", "{\"cpu_usage\": 7, \"x\": \"\xff\"}"}},
		{as(DecodeRAM), []string{`{"cpu_usage": 7}`, `{"ram_usage": 100.5}`}},
		{as(DecodeNetwork), []string{`{"active_tcp_connections": 1}`, `{"active_tcp_connections": -1, "syn_packet_count": 1}`,
			`{"active_tcp_connections": 1, "syn_packet_count": -1}`, `{"active_tcp_connections": 1, "syn_packet_count": 1.5}`,
			`{"active_tcp_connections": 1, "syn_packet_count": 1, "rates": 7}`}},
		{as(DecodeAlert), []string{`{"alert": 7}`, `{}`}},
		{as(DecodeStatus), []string{`{"command": "x"}`, `{"command": "x", "status": "perhaps"}`, `{"status": "success"}`}},
		{as(DecodePresence), []string{`{"state": "asleep"}`, `{}`}},
	} {
		for _, bad := range row.bad {
			if v, err := row.decode([]byte(bad)); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s gives %+v, %v", bad, v, err)
			}
		}
	}
}

func TestCommandErrorsEchoWhatIsReadable(t *testing.T) {
	for payload, want := range map[string]Command{
		`{"command": "enable_rate_limiting", "id": "7", "rate": 0}`:                         {Command: EnableRateLimiting, ID: "7"},
		`{"id": "7", "origin": "me", "rate": 1e12, "command": "enable_rate_limiting"}`:      {Command: EnableRateLimiting, ID: "7", Origin: "me"},
		`{"id": "7", "command": "enable_rate_limiting"`:                                     {Command: EnableRateLimiting, ID: "7"},
		`{"id": "7", "command": 7}`:                                                         {ID: "7"},
		`{"id": 7, "command": "enable_rate_limiting"}`:                                      {Command: EnableRateLimiting},
		`{"id": "a\nb", "command": "enable_rate_limiting"}`:                                 {Command: EnableRateLimiting},
		`{"id": "` + strings.Repeat("x", 129) + `", "command": "enable_rate_limiting"}`:     {Command: EnableRateLimiting},
		`{"command": "` + strings.Repeat("x", 65) + `", "id": "7"}`:                         {ID: "7"},
		`{"command": "enable_rate_limiting", "Rate": 7}`:                                    {Command: EnableRateLimiting},
		`{"command": "enable_rate_limiting", "rate": null}`:                                 {Command: EnableRateLimiting},
		`{"command": "enable_rate_limiting", "ttl_seconds": null}`:                          {Command: EnableRateLimiting},
		`{"command": "enable_rate_limiting", "ttl_seconds": 86401}`:                         {Command: EnableRateLimiting},
		`{"command": "enable_rate_limiting", "rate": 1, "burst": 3600}`:                     {Command: EnableRateLimiting},
		`{"command": "enable_rate_limiting", "reason": "` + strings.Repeat("x", 513) + `"}`: {Command: EnableRateLimiting},
		`{"command": "block_source", "id": "7"}`:                                            {Command: BlockSource, ID: "7"},
		`{"command": "block_source", "source": ""}`:                                         {Command: BlockSource},
		`{"command": "block_source", "source": null}`:                                       {Command: BlockSource},
		`{"command": "block_source", "source": ["192.0.2.1"]}`:                              {Command: BlockSource},
		`{"command": "block_source", "Source": "192.0.2.1"}`:                                {Command: BlockSource},
		`{"command": "allow_source", "source": "192.0.2.1/24"}`:                             {Command: AllowSource},
		`{"command": "block_source", "source": "192.0.2.1", "ttl_seconds": 0}`:              {Command: BlockSource},
		`{"command": "enable_rate_limiting", "source": "192.0.2.1"}`:                        {Command: EnableRateLimiting},
		`{"id": "7"}`:                      {ID: "7"},
		`[{"command": "x"}]`:               {},
		strings.Repeat(" ", MaxPayload+1):  {},
		`{"command": "a", "command": "b"}`: {Command: "a"},
	} {
		got, err := DecodeCommand([]byte(payload))
		if err == nil || strings.Contains(err.Error(), "\n") || len(err.Error()) > 256 {
			t.Errorf("%.80s: error %v", payload, err)
		}
		if got != want {
			t.Errorf("%.80s: %+v, want %+v", payload, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		`{"command": "x"}`:        `{"command": "x"}`,
		"Temperature: 29.38 °C":   "Temperature: 29.38 °C",
		"two\nlines\r\tand a tab": `two\nlines\r\tand a tab`,
		"\x1b[2Jgone\x07":         `\u001b[2Jgone\u0007`,
		"\xff\xfe":                `\xff\xfe`,
		"right\u202eleft":         `right\u202eleft`,
		"\u2028line separator":    `\u2028line separator`,
		"grüezi 日本 🙂":             "grüezi 日本 🙂",
	} {
		if got := Describe([]byte(in)); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
	long := Describe(bytes.Repeat([]byte("é"), 100_000))
	if len(long) > maxDescription || !strings.HasSuffix(long, "é … (200000 bytes)") {
		t.Errorf("a long payload is shown as %d bytes: …%s", len(long), long[len(long)-40:])
	}
}

func TestRoots(t *testing.T) {
	for _, row := range []struct {
		root Root
		ok   bool
		text string
	}{
		{DefaultRoot, true, "<103795587>/bank_server"},
		{Root{"bank", "zurich", "web1"}, true, "bank/zurich/web1"},
		{Root{"", "", "x"}, false, ""}, {Root{"x", "", ""}, false, ""},
		{Root{"a/b", "", "x"}, false, ""}, {Root{"a", "+", "x"}, false, ""}, {Root{"a", "", "#"}, false, ""},
		{Root{">", "", "x"}, false, ""}, {Root{"a", "*", "x"}, false, ""}, {Root{"$SYS", "", "x"}, false, ""},
		{Root{strings.Repeat("x", 129), "", "x"}, false, ""}, {Root{"a", "", "x\ny"}, false, ""}, {Root{"a", "", "\xff"}, false, ""},
		{Root{"public", "", "x"}, false, ""}, {Root{"a", "north", "metrics"}, false, ""}, {Root{"a", "", "status"}, false, ""},
	} {
		if err := row.root.Validate(); (err == nil) != row.ok || row.ok && row.root.String() != row.text {
			t.Errorf("%+v is %q: %v", row.root, row.root, err)
		}
	}
}
