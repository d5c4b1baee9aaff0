package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestKilledMosquittoAndBack: what TestAwayAndBack tests, with a broker that isn't ours and dies without a word.
func TestKilledMosquittoAndBack(t *testing.T) {
	te.Tool(t, "mosquitto")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	start := func() *te.Process {
		p := te.Local().Start(t, "mosquitto", "-p", port)
		p.Await(t, "running", patience)
		return p
	}
	mosquitto := start()
	c := connected(t, connect(t, addr))
	got := collect(t, c, "x/#")
	if err := c.Publish(t.Context(), Publication{Topic: "x", Payload: []byte("before"), Delivery: Confirmed}); err != nil {
		t.Fatal(err)
	}
	if m := next(t, got); string(m.Payload) != "before" {
		t.Errorf("got %q", m.Payload)
	}
	mosquitto.Kill()
	te.Eventually(t, patience, "loss", func() bool { return !c.Connected() })
	if err := c.Publish(t.Context(), Publication{Topic: "x", Delivery: Confirmed}); !errors.Is(err, ErrAway) {
		t.Errorf("confirmed while away: %v", err)
	}
	for i := range 3 {
		if err := c.Publish(t.Context(), Publication{Topic: "x", Payload: []byte(fmt.Sprint(i)), Delivery: Eventually}); err != nil {
			t.Fatal(err)
		}
	}
	start()
	for i := range 3 {
		if m := next(t, got); string(m.Payload) != fmt.Sprint(i) {
			t.Errorf("message %d is %q", i, m.Payload)
		}
	}
}

// proxy stands between a client and its broker.
type proxy struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	mute  bool // swallows everything
}

func newProxy(t *testing.T, broker string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	t.Cleanup(func() { l.Close(); p.cut() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", broker)
			if err != nil {
				a.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, a, b)
			p.mu.Unlock()
			for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
				go func() {
					_, _ = io.Copy(writer(func(data []byte) (int, error) {
						if p.muted() {
							return len(data), nil
						}
						return pair[0].Write(data)
					}), pair[1])
					pair[0].Close()
				}()
			}
		}
	}()
	return p
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func (p *proxy) muted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mute
}

func (p *proxy) setMute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// cut ends all connections without a word of MQTT.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func TestCutConnectionPublishesTheWillAndComesBack(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	p := newProxy(t, addr)
	watcher := collect(t, connected(t, connect(t, addr)), "status/#")
	ups := make(chan struct{}, 10)
	c := connected(t, connect(t, p.Addr().String(), func(o *Options) {
		o.Will = &Publication{Topic: "status/sensor", Payload: []byte("offline"), Retain: true, Delivery: Eventually}
		o.OnConnect = func() { ups <- struct{}{} }
	}))
	<-ups
	got := collect(t, c, "x")
	p.cut()
	if m := next(t, watcher); string(m.Payload) != "offline" {
		t.Errorf("will %q", m.Payload)
	}
	<-ups
	if err := c.Publish(t.Context(), Publication{Topic: "x", Payload: []byte("back"), Delivery: Confirmed}); err != nil {
		t.Error(err)
	}
	if m := next(t, got); string(m.Payload) != "back" {
		t.Errorf("got %q", m.Payload)
	}
}

// TestSilentBroker: a connection that swallows everything is told from a good one only by time.
func TestSilentBroker(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	p := newProxy(t, addr)
	c := connected(t, connect(t, p.Addr().String()))
	p.setMute()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Publish(ctx, Publication{Topic: "x", Delivery: Confirmed}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("confirmed: %v", err)
	}
	for range 2 * maxUnderWay { // more than may be under way at once
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := c.Publish(ctx, Publication{Topic: "x", Delivery: Confirmed}); err == nil {
			t.Error("confirmed by nobody")
		}
		cancel()
	}
	if err := c.Publish(t.Context(), Publication{Topic: "x", Delivery: BestEffort}); err != nil {
		t.Errorf("best effort: %v", err)
	}
	began := time.Now()
	c.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("close took %v", took)
	}
}

// TestHugeMessageHurtsItsSenderOnly: the embedded broker refuses it, so that a controller's connection stays.
func TestHugeMessageHurtsItsSenderOnly(t *testing.T) {
	te.Tool(t, "mosquitto_pub")
	addr, _ := startBroker(t, "127.0.0.1:0")
	ups := make(chan struct{}, 10)
	c := connected(t, connect(t, addr, func(o *Options) { o.OnConnect = func() { ups <- struct{}{} } }))
	<-ups
	got := collect(t, c, "org/server/control/command")
	host, port, _ := net.SplitHostPort(addr)
	file := t.TempDir() + "/huge"
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _ = te.Local().Command(ctx, "mosquitto_pub", "-h", host, "-p", port, "-q", "1", "-t", "org/server/control/command", "-f", file).CombinedOutput()
	te.Publish(t, te.Local(), addr, "org/server/control/command", []byte("small"), "-q", "1")
	if m := next(t, got); string(m.Payload) != "small" {
		t.Errorf("%d bytes came", len(m.Payload))
	}
	select {
	case <-ups:
		t.Error("the connection was lost")
	default:
	}
}
