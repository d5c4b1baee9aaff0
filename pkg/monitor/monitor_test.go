package monitor

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/wire"
)

// stage is a running monitor in a bubble of fake time.
type stage struct {
	t   *testing.T
	bus *bustest.Fake
	out *bytes.Buffer // to be read after the end
	cfg Config
}

// run plays a scene; the monitor is stopped after it and must end in time.
func run(t *testing.T, b *bustest.Fake, scene func(*stage)) (printed string) {
	t.Helper()
	s := &stage{t: t, bus: b, out: &bytes.Buffer{}, cfg: DefaultConfig()}
	bustest.Play(t, func() (bustest.Run, error) {
		m, err := New(s.cfg, b, s.out, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		return m.Run, nil
	}, func() { scene(s) })
	return s.out.String()
}

func (s *stage) deliver(topic, payload string) {
	s.bus.Deliver(bus.Message{Topic: topic, Payload: []byte(payload)})
	synctest.Wait()
}

func (s *stage) network(syns, connections int) {
	s.deliver(s.cfg.Root.MetricsNetwork(),
		fmt.Sprintf(`{"active_tcp_connections": %d, "syn_packet_count": %d, "timestamp": 12}`, connections, syns))
}

// networks are regular samples.
func (s *stage) networks(n, syns int) {
	for range n {
		time.Sleep(5 * time.Second)
		s.network(syns, 100)
	}
}

func (s *stage) commands() []wire.Command {
	s.t.Helper()
	var out []wire.Command
	for _, p := range s.bus.Take(s.cfg.Root.Command()) {
		c, err := wire.DecodeCommand(p.Payload)
		if err != nil || p.Retain || p.Delivery != bus.Confirmed || c.Origin != s.cfg.Origin || c.ID == "" || c.Reason == "" {
			s.t.Errorf("command %s, %v, published as %+v", p.Payload, err, p)
		}
		out = append(out, c)
	}
	return out
}

func (s *stage) expectCommand(what, want string) wire.Command {
	s.t.Helper()
	got := s.commands()
	switch {
	case len(got) == 0 && want == "":
		return wire.Command{}
	case len(got) == 1 && got[0].Command == want:
		return got[0]
	}
	s.t.Errorf("%s: commands %+v, want %q", what, got, want)
	return wire.Command{}
}

func (s *stage) expectAlerts(what string, want ...string) {
	s.t.Helper()
	var got []string
	for _, p := range s.bus.Take(s.cfg.Root.Alerts()) {
		a, err := wire.DecodeAlert(p.Payload)
		if err != nil || p.Retain || p.Delivery != bus.Eventually {
			s.t.Errorf("alert %s, %v, published as %+v", p.Payload, err, p)
		}
		got = append(got, a.State+": "+a.Alert)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Errorf("%s: alerts %q, want %q", what, got, want)
	}
}

func (s *stage) confirm(c wire.Command, state string) {
	b, err := wire.Encode(wire.Status{Command: c.Command, Status: wire.Success, ID: c.ID, Origin: c.Origin, State: state})
	if err != nil {
		s.t.Fatal(err)
	}
	s.deliver(s.cfg.Root.StatusRateLimiting(), string(b))
}

const synAlert = "SYN packet count exceeded threshold"

func TestMonitorFromFloodToCalm(t *testing.T) {
	printed := run(t, &bustest.Fake{}, func(s *stage) {
		s.networks(3, 100)
		s.expectCommand("normal", "")
		s.network(789, 100) // no time passes: the command goes out with the sample
		s.confirm(s.expectCommand("flood", wire.EnableRateLimiting), wire.StateOn)
		s.expectAlerts("flood", "raised: "+synAlert)
		s.networks(12, 5000)
		s.expectAlerts("a minute on", "reminder: "+synAlert)
		s.confirm(s.expectCommand("a minute on", wire.EnableRateLimiting), wire.StateOn)
		s.networks(3, 100)
		s.expectAlerts("flood ends", "cleared: "+synAlert)
		s.networks(9, 100)
		s.expectCommand("not yet calm", "")
		s.networks(1, 100)
		s.confirm(s.expectCommand("calm", wire.DisableRateLimiting), wire.StateOff)
		s.networks(100, 100)
		s.expectCommand("after it", "")
	})
	for _, want := range []string{
		"Received from topic: <103795587>/bank_server/metrics/network: {\"active_tcp_connections\": 100, \"syn_packet_count\": 789,",
		"Published command: {\"command\":\"enable_rate_limiting\",",
		"} to <103795587>/bank_server/control/command\n",
		"Published alert: {\"timestamp\":",
		"} to <103795587>/bank_server/alerts\n",
		"Received from topic: <103795587>/bank_server/status/rate_limiting: {",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("missing %q in:\n%s", want, printed)
		}
	}
}

func TestMonitorSensorDiesDuringFlood(t *testing.T) {
	run(t, &bustest.Fake{}, func(s *stage) {
		s.network(789, 100)
		s.confirm(s.expectCommand("flood", wire.EnableRateLimiting), wire.StateOn)
		s.expectAlerts("flood", "raised: "+synAlert)
		s.deliver(s.cfg.Root.StatusSensor(), `{"state":"offline"}`)
		time.Sleep(time.Hour)
		s.expectCommand("silence", "")
		s.expectAlerts("silence")
	})
}

func TestMonitorRestartKeepsItsDuty(t *testing.T) {
	b := &bustest.Fake{}
	run(t, b, func(s *stage) {
		s.bus.Deliver(bus.Message{Topic: s.cfg.Root.StatusRateLimiting(), Retained: true,
			Payload: []byte(`{"timestamp":1,"command":"enable_rate_limiting","status":"success","detail":"","origin":"monitor","state":"on"}`)})
		s.networks(12, 100)
		s.expectCommand("before a minute", "")
		s.networks(1, 100)
		s.expectCommand("after it", wire.DisableRateLimiting)
	})
}

func TestMonitorWithoutBroker(t *testing.T) {
	run(t, bustest.Away(), func(s *stage) {
		s.network(789, 100)
		s.expectCommand("away", "")
		s.expectAlerts("queued", "raised: "+synAlert)
		s.bus.SetAway(false)
		time.Sleep(2 * time.Second)
		s.expectCommand("back", wire.EnableRateLimiting)
	})
}

func TestMonitorIgnoresWhatIsNoMetric(t *testing.T) {
	root := DefaultConfig().Root
	printed := run(t, &bustest.Fake{}, func(s *stage) {
		for _, msg := range []bus.Message{
			{Topic: root.MetricsNetwork(), Payload: []byte(`{"syn_packet_count": "9999"}`)},
			{Topic: root.MetricsNetwork(), Payload: []byte("\x1b[2Jnonsense")},
			{Topic: root.MetricsNetwork(), Payload: []byte(`{"active_tcp_connections":1,"syn_packet_count":9999,"timestamp":1}`), Retained: true},
			{Topic: root.MetricsNetwork(), Oversize: 1 << 20},
			{Topic: root.MetricsNetwork(), Payload: []byte(`{"active_tcp_connections":1,"syn_packet_count":9999,"timestamp":1}`), Refused: errors.New("forged")},
			{Topic: root.Metrics()[:len(root.Metrics())-1] + "disk", Payload: []byte(`{"disk": 99}`)},
			{Topic: "public/metrics", Payload: []byte(`{"active_tcp_connections":1,"syn_packet_count":9999,"timestamp":1}`)},
			{Topic: "public/\x1b[2J", Payload: []byte("two\nlines")},
		} {
			s.bus.Deliver(msg)
			synctest.Wait()
		}
		s.expectCommand("nonsense", "")
		s.expectAlerts("nonsense")
	})
	if n := strings.Count(printed, "Received from topic: "); n != 8 || strings.Count(printed, "\n") != n {
		t.Errorf("%d lines received, want 8 of one line each:\n%s", n, printed)
	}
	if strings.Contains(printed, "\x1b") {
		t.Error("an escape sequence reaches the terminal")
	}
}

func TestMonitorShowsTheCommandsOfOthers(t *testing.T) {
	var own string
	printed := run(t, &bustest.Fake{}, func(s *stage) {
		s.network(789, 100)
		own = s.expectCommand("flood", wire.EnableRateLimiting).ID
		s.deliver(s.cfg.Root.Command(), `{"command":"enable_rate_limiting","id":"`+own+`"}`)
		s.deliver(s.cfg.Root.Command(), `{"command":"disable_rate_limiting"}`)
	})
	if n := strings.Count(printed, own); n != 1 {
		t.Errorf("its own command is printed %d times, want once:\n%s", n, printed)
	}
	if !strings.Contains(printed, `control/command: {"command":"disable_rate_limiting"}`) {
		t.Errorf("another's command isn't printed:\n%s", printed)
	}
}

func TestMonitorScales(t *testing.T) {
	run(t, &bustest.Fake{}, func(s *stage) {
		for range 2 {
			time.Sleep(5 * time.Second)
			s.deliver(s.cfg.Root.MetricsCPU(), `{"cpu_usage": 91.44, "timestamp": 1729697327.8}`)
		}
		s.expectAlerts("CPU", "raised: CPU usage exceeded threshold")
		s.expectCommand("CPU", wire.ScaleUpServers)
	})
}
