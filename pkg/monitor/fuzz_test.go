package monitor

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
)

// Whatever arrives on whichever topic, the monitor survives and prints one line without control characters.
func FuzzReceive(f *testing.F) {
	root := DefaultConfig().Root
	topics := []string{root.MetricsCPU(), root.MetricsRAM(), root.MetricsNetwork(), root.StatusRateLimiting(), root.Command(), "public/x"}
	for i, payload := range []string{
		`{"cpu_usage": 91.44, "timestamp": 1729697327.82}`,
		`{"ram_usage": 1e999}`,
		`{"active_tcp_connections": 205, "syn_packet_count": 18446744073709551615, "timestamp": 1}`,
		`{"timestamp":1,"command":"enable_rate_limiting","status":"success","state":"on","owner":"monitor"}`,
		`{"command":"enable_rate_limiting","id":"monitor-"}`,
		"\x1b[2J\r\n\u202e",
	} {
		f.Add(uint8(i), []byte(payload), false)
	}
	f.Fuzz(func(t *testing.T, topic uint8, payload []byte, retained bool) {
		b, out := &bustest.Fake{}, &bytes.Buffer{}
		m, err := New(DefaultConfig(), b, out, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.subscribe(); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			b.Deliver(bus.Message{Topic: topics[int(topic)%len(topics)], Payload: payload, Retained: retained})
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		m.out.Run(ended)
		for line := range strings.Lines(out.String()) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) ||
				!strings.HasPrefix(line, "Received from topic: ") && !strings.HasPrefix(line, "Published alert: ") {
				t.Errorf("printed %q", line)
			}
		}
	})
}
