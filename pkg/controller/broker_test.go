package controller

import (
	"context"
	"fmt"
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

// Over a real broker: each of many commands has its own answer, the last is retained, and a controller after this one
// learns from it whose limit it finds.
func TestControllerOverABroker(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b, err := broker.New(broker.Config{Listen: "127.0.0.1:0"}, log)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Start(t, b.Run)
	cfg := DefaultConfig()
	limiter := &fakeLimiter{}
	run := func(id string) (stop func()) {
		t.Helper()
		c, err := New(cfg, bustest.Connect(t, b.Addr(), id), limiter, io.Discard, log)
		if err != nil {
			t.Fatal(err)
		}
		return bustest.Start(t, c.Run)
	}
	outside := bustest.Connect(t, b.Addr(), "outside")
	statuses := make(chan wire.Status, 256)
	if err := outside.Subscribe(cfg.Root.StatusRateLimiting(), func(m bus.Message) {
		if s, err := wire.DecodeStatus(m.Payload); err == nil {
			statuses <- s
		}
	}); err != nil {
		t.Fatal(err)
	}
	await := func(what string, is func(wire.Status) bool) {
		t.Helper()
		for timeout := time.After(bustest.Patience); ; {
			select {
			case s := <-statuses:
				if is(s) {
					return
				}
			case <-timeout:
				t.Fatalf("no status: %s", what)
			}
		}
	}
	command := func(payload string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
		defer cancel()
		if err := outside.Publish(ctx, bus.Publication{Topic: cfg.Root.Command(), Payload: []byte(payload), Delivery: bus.Confirmed}); err != nil {
			t.Fatal(err)
		}
	}

	stop := run("controller-1")
	const commands = 50
	for i := range commands {
		command(fmt.Sprintf(`{"command":"dance","id":"%d"}`, i))
	}
	for i := range commands {
		await("refused", func(s wire.Status) bool { return s.ID == fmt.Sprint(i) && s.Status == wire.Failure })
	}
	command(`{"command":"enable_rate_limiting","id":"on","origin":"bob"}`)
	await("enabled", func(s wire.Status) bool { return s.ID == "on" && s.State == wire.StateOn })
	if st, _ := limiter.State(); !st.enforcing() {
		t.Error("said to be on, and isn't")
	}
	stop()

	run("controller-2")
	await("adopted", func(s wire.Status) bool { return s.Origin == ownOrigin && s.State == wire.StateOn && s.Owner == "bob" })
	command(`{"command":"disable_rate_limiting","id":"off"}`)
	await("disabled", func(s wire.Status) bool { return s.ID == "off" && s.State == wire.StateOff })
}

// A broker that is started again has retained nothing: whoever comes then learns whose limit is on all the same.
func TestANewBrokerIsToldWhoseLimitIsOn(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	start := func(addr string) (string, func()) {
		t.Helper()
		b, err := broker.New(broker.Config{Listen: addr}, log)
		if err != nil {
			t.Fatal(err)
		}
		return b.Addr(), bustest.Start(t, b.Run)
	}
	addr, stop := start("127.0.0.1:0")
	cfg := DefaultConfig()
	client := bustest.Connect(t, addr, "controller")
	cfg.Reconnected = client.Reconnected()
	c, err := New(cfg, client, &fakeLimiter{}, io.Discard, log)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Start(t, c.Run)
	awaited := func(is func(wire.Status) bool) chan wire.Status {
		t.Helper()
		all := make(chan wire.Status, 256)
		if err := bustest.Connect(t, addr, "").Subscribe(cfg.Root.StatusRateLimiting(), func(m bus.Message) {
			if s, err := wire.DecodeStatus(m.Payload); err == nil && is(s) {
				all <- s
			}
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	enabled := awaited(func(s wire.Status) bool { return s.ID == "on" })
	if err := bustest.Connect(t, addr, "").Publish(t.Context(), bus.Publication{
		Topic: cfg.Root.Command(), Payload: []byte(`{"command":"enable_rate_limiting","id":"on","origin":"bob"}`), Delivery: bus.Eventually,
	}); err != nil {
		t.Fatal(err)
	}
	was := <-enabled
	stop()
	start(addr)
	select {
	case s := <-awaited(func(s wire.Status) bool { return s.State == wire.StateOn }):
		if s.Owner != "bob" || s.Origin != "bob" || !s.Again || s.Timestamp <= was.Timestamp || s.Until < was.Until || s.Rate != was.Rate {
			t.Errorf("%+v, was %+v", s, was)
		}
	case <-time.After(bustest.Patience):
		t.Error("nobody is told")
	}
}
