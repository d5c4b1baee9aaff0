package broker

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"
)

// TestRefusedMessagesAreSlowedDown, too: they cost the broker as much.
func TestRefusedMessagesAreSlowedDown(t *testing.T) {
	b := newBank(t)
	c, second := b.client(t, b.sensor), b.client(t, b.sensor)
	began := time.Now()
	n := memberPace.packetsBurst + int(memberPace.packets)
	for i := range n {
		if i == n/2 {
			publish(t, c, "org/north/server/metrics/cpu", false, "x") // all before it was read
			c.Disconnect(100)
			c = second
		}
		c.Publish("org/north/server/control/command", 0, false, "x")
	}
	publish(t, c, "org/north/server/metrics/cpu", false, "x")
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("%d messages that aren't allowed took %v", n, took)
	}
}

// TestAnythingIsSlowedDown that a client sends: pings are answered, and acknowledgements of nothing looked up.
func TestAnythingIsSlowedDown(t *testing.T) {
	b := newBank(t)
	conn, err := tls.Dial("tcp", b.Addr(), b.ca.Client(b.sensor))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	connect := text("MQTT") + "\x04\xc2\x00\x3c" + text("a") + text(b.sensor.Name) + text(b.sensor.Secret)
	write(t, conn, "\x10"+string([]byte{byte(len(connect)&127 | 128), byte(len(connect) >> 7)})+connect)
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil { // CONNACK
		t.Fatal(err)
	}
	const ping, answer = "\xc0\x00", 2 // bytes
	const puback = "\x40\x02\x00\x01"
	for _, x := range []struct {
		what, packets string
		answers       int
		least         time.Duration
	}{
		{"pings", strings.Repeat(ping, memberPace.packetsBurst+int(memberPace.packets)), memberPace.packetsBurst + int(memberPace.packets), 900 * time.Millisecond},
		{"acknowledgements", strings.Repeat(puback, (memberPace.bytesBurst+int(memberPace.bytes))/ackBytes) + ping, 1, 900 * time.Millisecond},
	} {
		began := time.Now()
		write(t, conn, x.packets)
		if _, err := io.ReadFull(conn, make([]byte, x.answers*answer)); err != nil {
			t.Fatalf("%s: %v", x.what, err)
		}
		if took := time.Since(began); took < x.least {
			t.Errorf("%s: %d bytes took %v", x.what, len(x.packets), took)
		}
	}
}
