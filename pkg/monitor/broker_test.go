package monitor

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/broker"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/wire"
)

// bustest.Patience is for a loaded machine; nothing here takes long.

// Over a real broker: a metric is answered by a command and an alert, and a monitor that finds its limit on, as
// retained by the broker, has nothing to learn anew.
func TestMonitorOverABroker(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b, err := broker.New(broker.Config{Listen: "127.0.0.1:0"}, log)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Start(t, b.Run)
	cfg := DefaultConfig()
	outside := bustest.Connect(t, b.Addr(), "outside")
	commands, alerts := make(chan wire.Command, 16), make(chan wire.Alert, 16)
	for filter, h := range map[string]func([]byte){
		cfg.Root.Command(): func(p []byte) {
			if c, err := wire.DecodeCommand(p); err == nil {
				commands <- c
			}
		},
		cfg.Root.Alerts(): func(p []byte) {
			if a, err := wire.DecodeAlert(p); err == nil {
				alerts <- a
			}
		},
	} {
		if err := outside.Subscribe(filter, func(m bus.Message) { h(m.Payload) }); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(p bus.Publication) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
		defer cancel()
		p.Delivery = bus.Confirmed
		if err := outside.Publish(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	publish(bus.Publication{Topic: cfg.Root.StatusRateLimiting(), Retain: true,
		Payload: []byte(`{"timestamp":1,"command":"enable_rate_limiting","status":"success","detail":"","origin":"bob","state":"on"}`)})

	m, err := New(cfg, bustest.Connect(t, b.Addr(), "monitor"), io.Discard, log)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Start(t, m.Run)
	flood := bus.Publication{Topic: cfg.Root.MetricsNetwork(),
		Payload: []byte(`{"active_tcp_connections": 392, "syn_packet_count": 789, "timestamp": 1729697427.8}`)}
	publish(flood)
	select {
	case a := <-alerts:
		if a.State != wire.AlertRaised || a.Value != 789 {
			t.Errorf("alert %+v", a)
		}
	case <-time.After(bustest.Patience):
		t.Fatal("no alert")
	}
	// The retained limit is bob's, so it was left alone; once it ends the monitor asks for its own.
	publish(bus.Publication{Topic: cfg.Root.StatusRateLimiting(), Retain: true,
		Payload: []byte(`{"timestamp":2,"command":"disable_rate_limiting","status":"success","detail":"lease ended","origin":"controller","state":"off"}`)})
	select {
	case c := <-commands:
		if c.Command != wire.EnableRateLimiting || c.Origin != "monitor" || c.Reason != "rate limiting ended while the alert stands" {
			t.Errorf("command %+v", c)
		}
	case <-time.After(bustest.Patience):
		t.Fatal("no command")
	}
}
