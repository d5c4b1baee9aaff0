package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus/broker"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

const patience = 10 * time.Second

// startBroker runs the embedded broker; stop ends it.
func startBroker(t *testing.T, address string) (addr string, stop func()) {
	t.Helper()
	b, err := broker.New(broker.Config{Listen: address}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Run(ctx, sync.OnceFunc(func() { close(ready) })); err != nil {
			t.Error(err)
		}
	}()
	<-ready
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return b.Addr(), stop
}

func connect(t *testing.T, addr string, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{Broker: "tcp://" + addr}
	for _, c := range change {
		c(&o)
	}
	c, err := Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func connected(t *testing.T, c *Client) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.AwaitConnection(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func collect(t *testing.T, c *Client, filter string) <-chan Message {
	t.Helper()
	got := make(chan Message, 1000)
	if err := c.Subscribe(filter, func(m Message) { got <- m }); err != nil {
		t.Fatal(err)
	}
	return got
}

func next(t *testing.T, got <-chan Message) Message {
	t.Helper()
	select {
	case m := <-got:
		return m
	case <-time.After(patience):
		t.Fatal("no message")
		return Message{}
	}
}

func TestDeliveries(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	a, b := connected(t, connect(t, addr)), connected(t, connect(t, addr))
	got := collect(t, b, "<103795587>/#")
	for _, d := range []Delivery{BestEffort, Confirmed, Eventually} {
		text := fmt.Sprint(d)
		if err := a.Publish(t.Context(), Publication{Topic: "<103795587>/x", Payload: []byte(text), Delivery: d}); err != nil {
			t.Fatal(err)
		}
		if m := next(t, got); string(m.Payload) != text || m.Retained || m.Topic != "<103795587>/x" {
			t.Errorf("delivery %v: %+v", d, m)
		}
	}
}

func TestAwayAndBack(t *testing.T) {
	addr, stop := startBroker(t, "127.0.0.1:0")
	var ups = make(chan struct{}, 10)
	a := connected(t, connect(t, addr, func(o *Options) { o.OnConnect = func() { ups <- struct{}{} } }))
	<-ups
	got := collect(t, a, "x/#")
	stop()
	te.Eventually(t, patience, "loss", func() bool { return !a.Connected() })
	for _, d := range []Delivery{BestEffort, Confirmed} {
		if err := a.Publish(t.Context(), Publication{Topic: "x/1", Delivery: d}); !errors.Is(err, ErrAway) {
			t.Errorf("delivery %v while away: %v", d, err)
		}
	}
	// Order is kept; of a retained topic the newest is; a subscription made meanwhile counts.
	for i := range 3 {
		for _, p := range []Publication{
			{Topic: "x/order", Payload: []byte(fmt.Sprint(i)), Delivery: Eventually},
			{Topic: "y/state", Payload: []byte(fmt.Sprint(i)), Retain: true, Delivery: Eventually},
		} {
			if err := a.Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	state := collect(t, a, "y/#")
	te.Eventually(t, patience, "reason", func() bool { return strings.Contains(a.notConnected(nil).Error(), "connection refused") })
	startBroker(t, addr)
	<-ups
	if err := a.notConnected(context.Canceled).Error(); strings.Contains(err, "refused") {
		t.Error("an old reason:", err)
	}
	for i := range 3 {
		if m := next(t, got); string(m.Payload) != fmt.Sprint(i) {
			t.Errorf("message %d is %q", i, m.Payload)
		}
	}
	if m := next(t, state); string(m.Payload) != "2" {
		t.Errorf("state %q, want the newest", m.Payload)
	}
	select {
	case m := <-state:
		t.Errorf("another state: %q", m.Payload)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestOutboxIsBounded(t *testing.T) {
	o := newOutbox()
	for i := range outboxLen + 10 {
		if lost := o.put(Publication{Topic: "x", Payload: []byte(fmt.Sprint(i))}); lost != (i >= outboxLen) {
			t.Fatalf("message %d: lost %v", i, lost)
		}
	}
	if p := o.first(); string(p.Payload) != "10" {
		t.Errorf("the oldest is %q", p.Payload)
	}
}

func TestInboxShedsTheChattiest(t *testing.T) {
	in := newInbox()
	chatty, rare := &subscription{filter: "chatty"}, &subscription{filter: "rare"}
	in.put(delivery{rare, Message{Topic: "command"}})
	for range 2 * inboxLen {
		in.put(delivery{chatty, Message{}})
	}
	if d, ok := in.take(); !ok || d.sub != rare {
		t.Error("a chatty topic pushed out a command")
	}
	n := 0
	for _, ok := in.take(); ok; _, ok = in.take() {
		n++
	}
	if n != inboxLen-1 {
		t.Errorf("%d messages were kept", n)
	}
}

func TestWill(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	watcher := connected(t, connect(t, addr))
	got := collect(t, watcher, "status/#")
	will := func(o *Options) {
		o.Will = &Publication{Topic: "status/sensor", Payload: []byte("offline"), Retain: true, Delivery: Eventually}
	}
	connected(t, connect(t, addr, will)).Close()
	victim := connected(t, connect(t, addr, will, func(o *Options) { o.ClientID = "victim" }))
	select {
	case m := <-got:
		t.Fatalf("a clean end publishes the will: %q", m.Payload)
	case <-time.After(100 * time.Millisecond):
	}
	connected(t, connect(t, addr, func(o *Options) { o.ClientID = "victim" })) // throws the other out
	if m := next(t, got); string(m.Payload) != "offline" {
		t.Errorf("will %q", m.Payload)
	}
	victim.Close()
}

func TestOversizeFromAnotherBroker(t *testing.T) {
	addr := te.Mosquitto(t, te.Local())
	c := connected(t, connect(t, addr))
	got := collect(t, c, "x")
	te.Publish(t, te.Local(), addr, "x", make([]byte, 1<<20))
	if m := next(t, got); m.Payload != nil || m.Oversize != 1<<20 {
		t.Errorf("a megabyte arrives as %d bytes, oversize %d", len(m.Payload), m.Oversize)
	}
	te.Publish(t, te.Local(), addr, "x", []byte("small"))
	if m := next(t, got); string(m.Payload) != "small" {
		t.Errorf("after a megabyte: %+v", m)
	}
}

func TestCloseSendsWhatWaits(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	got := collect(t, connected(t, connect(t, addr)), "x")
	a := connected(t, connect(t, addr))
	for range 50 {
		if err := a.Publish(t.Context(), Publication{Topic: "x", Delivery: Eventually}); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	a.Close()
	for range 50 {
		next(t, got)
	}
	if err := a.Publish(t.Context(), Publication{Topic: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("publish after close: %v", err)
	}
}

func TestCloseWhileAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := connect(t, l.Addr().String())
	done := make(chan struct{})
	go func() { c.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Error("close waits for a broker that says nothing")
	}
}

func TestBadOptionsAndPublications(t *testing.T) {
	for broker, want := range map[string]string{
		"":                         "not set",
		"127.0.0.1:1883":           "not a URL",
		"bank":                     "not a URL",
		"http://bank":              "scheme",
		"tcp://":                   "no host",
		"tcp://bank:0":             "port",
		"tcp://bank:99999":         "port",
		"tcp://bank/x":             "path",
		"tcp://u:secret@bank:pass": "not a URL",
	} {
		_, err := Connect(Options{Broker: broker})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", broker, err)
		}
	}
	addr, _ := startBroker(t, "127.0.0.1:0")
	c := connected(t, connect(t, addr))
	for _, p := range []Publication{
		{Topic: ""}, {Topic: "a/#"}, {Topic: "a/+/b"}, {Topic: "a\x00b"}, {Topic: "\xff"},
		{Topic: "x", Payload: make([]byte, wire.MaxPayload+1)},
	} {
		if err := c.Publish(t.Context(), p); err == nil {
			t.Errorf("published to %q with %d bytes", p.Topic, len(p.Payload))
		}
	}
	for _, f := range []string{"", "a/#/b", "a+", "$share/g/x"} {
		if err := c.Subscribe(f, func(Message) {}); err == nil {
			t.Errorf("subscribed to %q", f)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, row := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/b", "a/b/c", false}, {"a/b/c", "a/b", false},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false}, {"#", "a/b", true}, {"#", "$SYS/x", false},
		{"+/b", "a/b", true}, {"+/b", "$SYS/b", false}, {"a/+", "a/", true}, {"a/+", "a", false}, {"+", "", true},
		{"<103795587>/+/x", "<103795587>/bank_server/x", true},
	} {
		if got := matches(row.filter, row.topic); got != row.want {
			t.Errorf("filter %q, topic %q: %v", row.filter, row.topic, got)
		}
	}
}

func TestPauseGrowsAndVaries(t *testing.T) {
	for n := 1; n < 100; n++ {
		long, short := pause(n, func() float64 { return 0 }), pause(n, func() float64 { return 1 })
		if long > maxPause || short < firstPause/2 || short != long/2 || n > 1 && long < pause(n-1, func() float64 { return 0 }) {
			t.Errorf("pause %d is %v to %v", n, short, long)
		}
	}
}
