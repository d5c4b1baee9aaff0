package monitor

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/broker"
	"github.com/weir-sensor/weir/pkg/wire"
)

// patience is for a loaded machine; nothing here takes long.
const patience = 20 * time.Second

// start runs something until the test ends and waits until it is ready.
func start(t *testing.T, run func(context.Context, func()) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("not ready")
	}
}

func connect(t *testing.T, addr, id string) *bus.Client {
	t.Helper()
	c, err := bus.Connect(bus.Options{Broker: "tcp://" + addr, ClientID: id, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.AwaitConnection(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// Over a real broker: a metric is answered by a command and an alert, and a monitor that finds its limit on, as
// retained by the broker, has nothing to learn anew.
func TestMonitorOverABroker(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b, err := broker.New(broker.Config{Listen: "127.0.0.1:0"}, log)
	if err != nil {
		t.Fatal(err)
	}
	start(t, b.Run)
	cfg := DefaultConfig()
	outside := connect(t, b.Addr(), "outside")
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
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		p.Delivery = bus.Confirmed
		if err := outside.Publish(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	publish(bus.Publication{Topic: cfg.Root.StatusRateLimiting(), Retain: true,
		Payload: []byte(`{"timestamp":1,"command":"enable_rate_limiting","status":"success","detail":"","origin":"bob","state":"on"}`)})

	m, err := New(cfg, connect(t, b.Addr(), "monitor"), io.Discard, log)
	if err != nil {
		t.Fatal(err)
	}
	start(t, m.Run)
	flood := bus.Publication{Topic: cfg.Root.MetricsNetwork(),
		Payload: []byte(`{"active_tcp_connections": 392, "syn_packet_count": 789, "timestamp": 1729697427.8}`)}
	publish(flood)
	select {
	case a := <-alerts:
		if a.State != wire.AlertRaised || a.Value != 789 {
			t.Errorf("alert %+v", a)
		}
	case <-time.After(patience):
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
	case <-time.After(patience):
		t.Fatal("no command")
	}
}
