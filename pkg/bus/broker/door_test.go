package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/door"
)

// Who isn't let in by the broker is banned at its door; who says nothing, like a health check, isn't.
func TestGuessersAreBanned(t *testing.T) {
	from := netip.MustParsePrefix("192.0.2.1/32")
	strangers.Source = func(net.Addr) (netip.Prefix, bool) { return from, true }
	t.Cleanup(func() { strangers = door.Default }) // when the broker has ended
	b := newBank(t)
	visit := func(f func(c net.Conn)) {
		t.Helper()
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		f(c)
		_ = c.Close()
	}
	for range 3 * strangers.Strikes {
		visit(func(net.Conn) {})
	}
	b.client(t, b.viewer)
	for i := range strangers.Strikes {
		if err := refused(b.url(), b.as(b.viewer), func(o *mqtt.ClientOptions) { o.SetPassword(fmt.Sprint(i)) }); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(b.log.String(), "a source is banned") && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if err := refused(b.url(), b.as(b.viewer)); err != nil {
		t.Error("a banned source is let in")
	}
	if said := b.log.String(); !strings.Contains(said, "a source is banned") {
		t.Errorf("nobody is told of the ban: %s", said)
	}
}

func TestDeepTopicsAreRefused(t *testing.T) {
	b, _ := start(t)
	got := subscribe(t, client(t, "tcp://"+b.Addr()), "#")
	c := client(t, "tcp://"+b.Addr())
	c.Publish(strings.Repeat("a/", maxLevels)+"a", 0, false, "deep")
	publish(t, client(t, "tcp://"+b.Addr()), "a", false, "flat")
	expect(t, got, "flat")
}

// Connections that say nothing make room for those that do.
func TestCrowd(t *testing.T) {
	b := newBank(t)
	first := b.client(t, b.viewer)
	var crowd []net.Conn
	defer func() {
		for _, c := range crowd {
			c.Close()
		}
	}()
	for range strangers.Waiting + 50 {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
	}
	begin := time.Now()
	b.client(t, b.operator)
	if took := time.Since(begin); took > connectTimeout/2 {
		t.Errorf("a client waited for %v", took)
	}
	if !first.IsConnectionOpen() {
		t.Error("who was let in has to make room")
	}
	for _, c := range crowd[:10] {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the oldest are still there")
		}
	}
}
