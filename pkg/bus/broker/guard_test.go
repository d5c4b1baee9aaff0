package broker

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestPublishersAreSlowedDown: more than the burst takes its time, all of it is read, and nobody else waits.
func TestPublishersAreSlowedDown(t *testing.T) {
	b, _ := start(t)
	others, flooder := client(t, "tcp://"+b.Addr()), client(t, "tcp://"+b.Addr())
	began := time.Now()
	n := strangerPace.packetsBurst + int(strangerPace.packets)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			flooder.Publish("flood", 0, false, "x")
		}
		publish(t, flooder, "flood", false, "last")
	}()
	for {
		sent := time.Now()
		publish(t, others, "other", false, "x")
		if took := time.Since(sent); took > time.Second {
			t.Errorf("another client waits %v", took)
		}
		select {
		case <-done:
		case <-time.After(50 * time.Millisecond):
			continue
		}
		break
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("%d messages in %v", n, took)
	}
	if got := atomic.LoadInt64(&b.server.Info.MessagesReceived); got < int64(n) {
		t.Errorf("%d of %d were read", got, n)
	}
}

func TestRetainedCommandsOfVersion5AreRefused(t *testing.T) {
	te.Tool(t, "mosquitto_pub")
	b, _ := start(t)
	got := subscribe(t, client(t, "tcp://"+b.Addr()), "org/#")
	for _, qos := range []string{"0", "1", "2"} {
		// Its exit status for a refusal differs by version; what matters is what arrives.
		host, port, _ := net.SplitHostPort(b.Addr())
		_, _ = te.Local().Command(t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-V", "mqttv5", "-q", qos, "-r",
			"-t", command, "-m", "retained "+qos).CombinedOutput()
	}
	te.Publish(t, te.Local(), b.Addr(), command, []byte("live"), "-V", "mqttv5", "-q", "1")
	expect(t, got, "live")
	select {
	case m := <-subscribe(t, client(t, "tcp://"+b.Addr()), "org/#"):
		t.Errorf("kept: %q", m.Payload())
	case <-time.After(50 * time.Millisecond):
	}
}

// TestRetainedOutlastsDays: a status that nothing has changed must be there for whoever connects next week.
func TestRetainedOutlastsDays(t *testing.T) {
	if hours := capabilities().MaximumMessageExpiryInterval / 3600; hours < 24*365 {
		t.Errorf("retained messages are forgotten after %d hours", hours)
	}
}

// TestRetainedTopicsAreBounded, whether they come as messages or as last wills.
func TestRetainedTopicsAreBounded(t *testing.T) {
	b, _ := start(t)
	c := client(t, "tcp://"+b.Addr())
	for i := range maxRetained {
		b.server.Topics.Retained.Add(fmt.Sprintf("kept/%d", i), packets.Packet{})
	}
	publish(t, c, "more", true, "x")
	got := subscribe(t, c, "will")
	cutOff(t, b, func(o *mqtt.ClientOptions) { o.SetWill("will", "offline", 1, true) })
	expect(t, got, "offline")
	if _, kept := b.server.Topics.Retained.Get("will"); kept {
		t.Error("a will is kept beyond the bound")
	}
	publish(t, c, "kept/0", true, "newer") // what is known may change
	if pk, _ := b.server.Topics.Retained.Get("kept/0"); string(pk.Payload) != "newer" {
		t.Errorf("a known topic holds %q", pk.Payload)
	}
}

// cutOff connects a client and cuts its connection without a word.
func cutOff(t *testing.T, b *Broker, change ...func(*mqtt.ClientOptions)) {
	t.Helper()
	var conn net.Conn
	client(t, "tcp://"+b.Addr(), append(change, func(o *mqtt.ClientOptions) {
		o.SetDialer(&net.Dialer{Timeout: 5 * time.Second})
		o.SetCustomOpenConnectionFn(func(_ *url.URL, o mqtt.ClientOptions) (c net.Conn, err error) {
			conn, err = net.Dial("tcp", b.Addr())
			return conn, err
		})
	})...)
	conn.Close()
}

func TestWillsAreNotDelayed(t *testing.T) {
	b, _ := start(t)
	got := subscribe(t, client(t, "tcp://"+b.Addr()), "will")
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// MQTT 5 CONNECT (section 3.1): will with a delay of an hour, session kept for an hour, client ID "d".
	body := "\x00\x04MQTT\x05\x04\x00\x00" + "\x05\x11\x00\x00\x0e\x10" + "\x00\x01d" + "\x05\x18\x00\x00\x0e\x10" + "\x00\x04will" + "\x00\x03off"
	if _, err := conn.Write([]byte("\x10" + string(rune(len(body))) + body)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAtLeast(conn, make([]byte, 256), 4); err != nil { // CONNACK
		t.Fatal(err)
	}
	conn.Close()
	expect(t, got, "off")
}

func TestSessionsAreBounded(t *testing.T) {
	b, _ := start(t)
	keep := func(i int) func(*mqtt.ClientOptions) {
		return func(o *mqtt.ClientOptions) { o.SetClientID(fmt.Sprintf("kept-%d", i)).SetCleanSession(false) }
	}
	for i := range maxSessions {
		client(t, "tcp://"+b.Addr(), keep(i)).Disconnect(0)
	}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + b.Addr()).SetConnectTimeout(5 * time.Second)
	keep(maxSessions)(o)
	if token := mqtt.NewClient(o).Connect(); token.Wait() && token.Error() == nil {
		t.Error("another session is kept")
	}
	client(t, "tcp://"+b.Addr(), keep(0)) // known
	old, _ := b.server.Clients.Get("kept-1")
	b.guard.OnClientExpired(old)
	client(t, "tcp://"+b.Addr(), keep(maxSessions)) // there is room again
	client(t, "tcp://"+b.Addr())                    // leaves nothing behind
}

func TestSubscriptionsAreBounded(t *testing.T) {
	b, _ := start(t)
	c := client(t, "tcp://"+b.Addr())
	filters := map[string]byte{}
	for i := range maxSubscriptions + 1 {
		filters[fmt.Sprint(i)] = 0
	}
	if token := c.SubscribeMultiple(filters, nil); !token.WaitTimeout(5*time.Second) || token.Error() == nil {
		t.Errorf("%d subscriptions are accepted", len(filters))
	}
	subscribe(t, client(t, "tcp://"+b.Addr()), "#")
}

func TestForgottenSessionsLeaveNothing(t *testing.T) {
	b, _ := start(t)
	c := client(t, "tcp://"+b.Addr(), func(o *mqtt.ClientOptions) { o.SetClientID("kept").SetCleanSession(false) })
	subscribe(t, c, "a/b")
	c.Disconnect(0)
	cl, _ := b.server.Clients.Get("kept")
	te.Eventually(t, 5*time.Second, "end of the connection", cl.Closed)
	b.guard.OnClientExpired(cl)
	if subs := b.server.Topics.Subscribers("a/b").Subscriptions; len(subs) > 0 {
		t.Errorf("subscriptions stay: %v", subs)
	}
}

// TestEndLeavesNoGoroutines also when clients are there.
func TestEndLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("broker", func(t *testing.T) {
		b, _ := start(t)
		client(t, "tcp://"+b.Addr())
		client(t, "ws://"+b.AddrWS()+"/mqtt")
		conn, err := net.Dial("tcp", b.AddrWS())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	})
	te.Eventually(t, 5*time.Second, "end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

func TestMochiIsQuiet(t *testing.T) {
	b, log := start(t)
	for range 100 { // no MQTT
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		conn.Close()
	}
	client(t, "tcp://"+b.Addr())
	if lines := strings.Count(log.String(), "\n"); lines > 1 {
		t.Errorf("%d lines:\n%s", lines, log)
	}
}

// broken is a mistake that one message meets.
type broken struct{ mochi.HookBase }

func (broken) ID() string           { return "broken" }
func (broken) Provides(b byte) bool { return b == mochi.OnPublish }

func (broken) OnPublish(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.TopicName == "broken" {
		panic("a mistake")
	}
	return pk, nil
}

// TestMistakesEndOneClient: a panic isn't the end of the broker, nor of the others, and leaves nothing of the client that met it.
func TestMistakesEndOneClient(t *testing.T) {
	b, log := start(t)
	if err := b.server.AddHook(&broken{}, nil); err != nil {
		t.Fatal(err)
	}
	other := client(t, "tcp://"+b.Addr())
	got := subscribe(t, other, "fine")
	for _, url := range []string{"tcp://" + b.Addr(), "ws://" + b.AddrWS()} {
		unlucky := client(t, url, func(o *mqtt.ClientOptions) { o.SetAutoReconnect(false).SetClientID("unlucky") })
		subscribe(t, unlucky, "broken")
		unlucky.Publish("broken", 0, false, "x")
		te.Eventually(t, 5*time.Second, "end of the client's connection", func() bool { return !unlucky.IsConnectionOpen() })
		te.Eventually(t, 5*time.Second, "end of the client", func() bool {
			_, is := b.server.Clients.Get("unlucky")
			return !is && len(b.server.Topics.Subscribers("broken").Subscriptions) == 0
		})
		publish(t, other, "fine", false, "still here")
		expect(t, got, "still here")
	}
	if text := log.String(); strings.Count(text, "report this") != 1 || !strings.Contains(text, "err=\"a mistake\"") || !strings.Contains(text, "OnPublish") {
		t.Errorf("log: %s", text)
	}
}
