package broker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const command = "org/server/control/command"

// logged collects a broker's log.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T) (*Broker, *logged) {
	t.Helper()
	log := &logged{}
	b, err := New(Config{Listen: "127.0.0.1:0", ListenWS: "127.0.0.1:0"}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	run(t, b)
	return b, log
}

func run(t *testing.T, b *Broker) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error)
	go func() { ended <- b.Run(ctx, sync.OnceFunc(func() { close(ready) })) }()
	<-ready
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the broker doesn't end")
		}
	})
}

func client(t *testing.T, url string, change ...func(*mqtt.ClientOptions)) mqtt.Client {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker(url).SetAutoReconnect(false)
	for _, c := range change {
		c(o)
	}
	c := mqtt.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatalf("connect to %s: %v", url, token.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

func subscribe(t *testing.T, c mqtt.Client, filter string) <-chan mqtt.Message {
	t.Helper()
	got := make(chan mqtt.Message, 100)
	if token := c.Subscribe(filter, 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatal("subscribe:", token.Error())
	}
	return got
}

func expect(t *testing.T, got <-chan mqtt.Message, payload string) {
	t.Helper()
	select {
	case m := <-got:
		if string(m.Payload()) != payload {
			t.Errorf("got %q, want %q", m.Payload(), payload)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("%q didn't come", payload)
	}
}

func publish(t *testing.T, c mqtt.Client, topic string, retain bool, payload string) {
	t.Helper()
	if token := c.Publish(topic, 1, retain, payload); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Errorf("publish: %v", token.Error())
	}
}

func TestBothTransports(t *testing.T) {
	b, _ := start(t)
	got := subscribe(t, client(t, "ws://"+b.AddrWS()+"/mqtt"), "<103795587>/#")
	publish(t, client(t, "tcp://"+b.Addr()), "<103795587>/bank_server/alerts", false, "hello")
	expect(t, got, "hello")
}

func TestMosquittoClientsOfBothVersions(t *testing.T) {
	te.Tool(t, "mosquitto_sub", "mosquitto_pub")
	b, _ := start(t)
	got := subscribe(t, client(t, "tcp://"+b.Addr()), "a/#")
	host, port, _ := net.SplitHostPort(b.Addr())
	for _, version := range []string{"mqttv311", "mqttv5"} {
		out, err := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-V", version, "-q", "1", "-t", "a/b", "-m", version).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", version, err, out)
		}
		expect(t, got, version)
	}
}

func TestRetainedCommandsAreRefused(t *testing.T) {
	b, log := start(t)
	c := client(t, "tcp://"+b.Addr())
	got := subscribe(t, c, "org/#")
	publish(t, c, command, true, "retained")
	publish(t, c, command, false, "live")
	expect(t, got, "live")
	publish(t, c, "org/server/status/x", true, "kept")
	expect(t, got, "kept")
	late := subscribe(t, client(t, "tcp://"+b.Addr()), "org/#")
	expect(t, late, "kept")
	if !strings.Contains(log.String(), "retained command was refused") {
		t.Errorf("log: %s", log)
	}
}

func TestWillsAreNoCommands(t *testing.T) {
	b, _ := start(t)
	for _, topic := range []string{command, "$SYS/x"} {
		o := mqtt.NewClientOptions().AddBroker("tcp://"+b.Addr()).SetWill(topic, "x", 1, false)
		if token := mqtt.NewClient(o).Connect(); !token.WaitTimeout(5*time.Second) || token.Error() == nil {
			t.Errorf("a will on %s is accepted", topic)
		}
	}
	client(t, "tcp://"+b.Addr(), func(o *mqtt.ClientOptions) { o.SetWill("org/server/status/sensor", "offline", 1, true) })
}

func TestHugePacketEndsItsSenderOnly(t *testing.T) {
	b, _ := start(t)
	other := client(t, "tcp://"+b.Addr())
	got := subscribe(t, other, "#")
	for _, url := range []string{"tcp://" + b.Addr(), "ws://" + b.AddrWS() + "/mqtt"} {
		lost := make(chan struct{})
		c := client(t, url, func(o *mqtt.ClientOptions) {
			o.SetConnectionLostHandler(func(mqtt.Client, error) { close(lost) })
		})
		c.Publish("a", 0, false, make([]byte, 1<<20))
		select {
		case <-lost:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: a megabyte is accepted", url)
		}
	}
	publish(t, other, "b", false, "still here")
	expect(t, got, "still here")
}

func TestSilentClientsDontKeepItRunning(t *testing.T) {
	b, _ := start(t)
	for _, addr := range []string{b.Addr(), b.AddrWS()} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+b.AddrWS()+"/mqtt", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
}

func TestWebPagesOfOthersAreRefused(t *testing.T) {
	b, _ := start(t)
	for origin, want := range map[string]bool{
		"":                     true,
		"http://" + b.AddrWS(): true,
		"file://":              true,
		"http://evil.example":  false,
		"https://evil.example": false,
		"null":                 false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		ws, _, err := websocket.DefaultDialer.Dial("ws://"+b.AddrWS()+"/mqtt", header)
		if (err == nil) != want {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			ws.Close()
		}
	}
}

func TestWebPagesByNameAreRefused(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:8083": true, "[::1]:8083": true, "localhost:8083": true, "evil.example:8083": false,
	} {
		r := &http.Request{Host: host, Header: http.Header{"Origin": {"http://" + host}}}
		if got := sameOrigin(r); got != want {
			t.Errorf("a page of %s: %v", host, got)
		}
	}
}

func TestAddressesAreRefused(t *testing.T) {
	b, _ := start(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, row := range []struct {
		cfg  Config
		want string
	}{
		{Config{Listen: b.Addr()}, "is in use"},
		{Config{Listen: "127.0.0.1:0", ListenWS: b.AddrWS()}, "is in use"},
		{Config{Listen: "0.0.0.0:1883"}, "--allow-remote"},
		{Config{Listen: ":1883"}, "--allow-remote"},
		{Config{Listen: "127.0.0.1:0", ListenWS: "[::]:0"}, "--allow-remote"},
		{Config{Listen: "bank.example:1883"}, "--allow-remote"},
		{Config{Listen: "127.0.0.1"}, "host:port"},
		{Config{Listen: "198.51.100.77:0", AllowRemote: true}, "--listen"},
	} {
		_, err := New(row.cfg, log)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", row.cfg, err)
		}
	}
	again, err := New(Config{Listen: "0.0.0.0:0", AllowRemote: true}, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}
