package monitor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/notify"
	"github.com/weir-sensor/weir/pkg/wire"
)

// people are notified, and say so.
type people struct {
	told  []wire.Alert
	tests []string // who asked
	err   error
}

func (p *people) Notify(a wire.Alert) { p.told = append(p.told, a) }

func (p *people) Test(_ context.Context, _ time.Time, by string) (string, error) {
	p.tests = append(p.tests, by)
	return "pager: ok", p.err
}

func TestMonitorNotifies(t *testing.T) {
	b, p, cfg := &bustest.Fake{}, &people{}, DefaultConfig()
	var m *Monitor
	var logged bytes.Buffer
	bustest.Play(t, func() (bustest.Run, error) {
		var err error
		if m, err = New(cfg, b, io.Discard, slog.New(slog.NewJSONHandler(&logged, nil))); err != nil {
			return nil, err
		}
		m.NotifyBy(p)
		return m.Run, nil
	}, func() {
		deliver := func(topic, payload string, msg bus.Message) {
			msg.Topic, msg.Payload = topic, []byte(payload)
			b.Deliver(msg)
			synctest.Wait()
		}
		deliver(cfg.Root.MetricsNetwork(), `{"active_tcp_connections": 1, "syn_packet_count": 789, "timestamp": 12}`, bus.Message{})
		if len(p.told) != 1 || p.told[0].State != wire.AlertRaised || p.told[0].Value != 789 {
			t.Errorf("told %+v", p.told)
		}
		for line := range strings.Lines(logged.String()) {
			if strings.Count(line, `"level":`) != 1 || strings.Count(line, `"msg":`) != 1 {
				t.Errorf("a member is there twice: %s", line)
			}
		}
		s := m.Stats()
		if a := s.Alerts[metricSYN]; !a.Raised || a.Times != 1 || a.Value != 789 || a.Level != cfg.SYNThreshold || s.Sent[wire.EnableRateLimiting] != 1 || s.Heard.IsZero() {
			t.Errorf("stats %+v", s)
		}

		const test = `{"command": "test_alert", "id": "7", "origin": "mqttx"}`
		deliver(cfg.Root.Command(), test, bus.Message{Retained: true})
		deliver(cfg.Root.Command(), test, bus.Message{Refused: errors.New("forged")})
		deliver(cfg.Root.Command(), `{"command": "enable_rate_limiting", "id": "7"}`, bus.Message{})
		deliver("public/control/command", test, bus.Message{})
		if len(p.tests) > 0 || len(b.Take(cfg.Root.StatusNotification())) > 0 {
			t.Fatal("a test that nobody asked for, or may not")
		}
		answer := func() wire.Status {
			t.Helper()
			all := b.Take(cfg.Root.StatusNotification())
			if len(all) != 1 || all[0].Retain {
				t.Fatalf("%d answers", len(all))
			}
			s, err := wire.DecodeStatus(all[0].Payload)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		deliver(cfg.Root.Command(), test, bus.Message{From: "operator-aaaa"})
		if s := answer(); s.Status != wire.Success || s.ID != "7" || s.Origin != "mqttx" || s.SignedBy != "operator-aaaa" || s.Detail != "pager: ok" || p.tests[0] != "operator-aaaa" {
			t.Errorf("%+v, asked by %q", s, p.tests)
		}
		p.err = errors.New("pager: down")
		deliver(cfg.Root.Command(), test, bus.Message{})
		if s := answer(); s.Status != wire.Failure || s.Detail != "pager: down" || p.tests[1] != "mqttx" {
			t.Errorf("%+v, asked by %q", s, p.tests)
		}
		m.notifier = &notify.Notifiers{}
		deliver(cfg.Root.Command(), test, bus.Message{})
		if s := answer(); s.Status != wire.Failure || !strings.Contains(s.Detail, "notify.alertmanager") {
			t.Errorf("%+v", s)
		}
	})
}
