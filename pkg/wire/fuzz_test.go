package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/weir-sensor/weir/pkg/prefixlist"
)

func FuzzDecodeCommand(f *testing.F) {
	for _, seed := range []string{
		`{"command": "enable_rate_limiting"}`,
		`{"command": "enable_rate_limiting", "id": "7", "origin": "me", "rate": 100, "burst": 200, "ttl_seconds": 1.5, "reason": "x", "timestamp": 1729697327.8}`,
		`{"command": "block_source", "source": "2001:db8::/32", "ttl_seconds": 60}`, `{"command": "unallow_source", "source": "192.0.2.1/24"}`,
		`{"command": "x", "command": "y"}`, `{"Command": "x"}`, `{"command": "x", "rate": 1e2}`, `{"command":"\ud800"}`,
		`{"command": "x", "more": {"deep": [[[]]]}}`, `{"command": "x"`, `[]`, `null`, "", "\xff", `{"rate": 18446744073709551616}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		for _, s := range []string{c.Command, c.ID, c.Origin, c.Reason} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || len(s) > MaxReasonBytes {
				t.Errorf("unsafe text %q", s)
			}
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 512 {
				t.Errorf("error %q", err)
			}
			return
		}
		if c.Command == "" || c.Rate > MaxRate || c.Burst > MaxBurst || c.TTLSeconds < 0 || c.TTLSeconds > MaxTTLSeconds {
			t.Errorf("out of bounds: %+v", c)
		}
		if _, err := prefixlist.Parse(c.Source); (err == nil) != IsListCommand(c.Command) {
			t.Errorf("source %q of %s: %v", c.Source, c.Command, err)
		}
		// Whoever reads it with another parser sees the same.
		var other Command
		if err := json.Unmarshal(b, &other); err != nil || other != c {
			t.Errorf("another reader sees %+v, %v, not %+v", other, err, c)
		}
		again, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeCommand(again); err != nil || back != c {
			t.Errorf("%s reads back as %+v, %v", again, back, err)
		}
	})
}

func FuzzDecodeMetrics(f *testing.F) {
	for _, seed := range []string{
		`{"cpu_usage": 91.44, "timestamp": 1729697327.8228045}`, `{"ram_usage": 43.7}`,
		`{"active_tcp_connections": 205, "syn_packet_count": 482, "rates": {"syn": {"pps": 1}}, "top_sources": [{}], "tcp": {}}`,
		`{"timestamp": 1, "alert": "x"}`, `{"command": "x", "status": "success"}`, `{"state": "online"}`, `{}`, `[`, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeCPU(b); err == nil && !(v.Usage >= 0 && v.Usage <= 100) {
			t.Errorf("cpu %v", v.Usage)
		}
		if v, err := DecodeRAM(b); err == nil && !(v.Usage >= 0 && v.Usage <= 100) {
			t.Errorf("ram %v", v.Usage)
		}
		if v, err := DecodeNetwork(b); err == nil && (v.ActiveTCPConnections < 0 || math.IsInf(v.Timestamp, 0)) {
			t.Errorf("network %+v", v)
		}
		for _, decode := range []func([]byte) (any, error){as(DecodeAlert), as(DecodeStatus), as(DecodePresence)} {
			if v, err := decode(b); err == nil {
				if _, err := Encode(v); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func FuzzDescribe(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[31m", "\xff", "a\u202eb", "\r\n", strings.Repeat("é", 600), "\u009b31m", strings.Repeat("é", 3000)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := Describe(b)
		if len(s) > maxDescription || !utf8.ValidString(s) {
			t.Fatalf("%d bytes: %q", len(s), s)
		}
		for _, r := range s {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %U", s, r)
			}
		}
	})
}

// Members are those that encoding/json finds.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, "{\n\"a\" :\t[1, {\"b\": \"}\"}] ,\"c\":\"\\\"\"}\r\n", `{"a":1,"\u0061":2}`, `{"a":null,"b":-1.5e3 ,"c":true}`, `{"":""}`, `{"a":{"a":{}},"b":[[]]}`,
		`{"a":1,}`, `{"a" 1}`, `[1]`, `{"a":1} x`, `{"a":1`, `{"\ud800":1}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		got, err := parseObject([]byte(payload))
		want := map[string]json.RawMessage{}
		if len(payload) > MaxPayload || !utf8.ValidString(payload) {
			return
		}
		wantErr := splitBroken([]byte(payload), want)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || len(got) != len(want) {
			t.Fatalf("%q: %v, %v: %q instead of %q", payload, err, wantErr, got, want)
		}
		for name, raw := range want {
			if string(got[name]) != string(raw) {
				t.Errorf("%q: %q is %q instead of %q", payload, name, got[name], raw)
			}
		}
	})
}
