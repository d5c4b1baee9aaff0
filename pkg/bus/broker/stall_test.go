package broker

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// stalled is a client that subscribes to everything with QoS 1, has no keep-alive, and then reads nothing.
func stalled(t *testing.T, b *Broker) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// CONNECT, client ID "s"; SUBSCRIBE to "#", QoS 1 (MQTT 3.1.1, sections 3.1 and 3.8).
	if _, err := conn.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01s\x82\x06\x00\x01\x00\x01#\x01")); err != nil {
		t.Fatal(err)
	}
	// CONNACK and SUBACK: from here on it gets everything.
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < 4+5; {
		n, err := conn.Read(make([]byte, 4+5-got))
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	return conn
}

// TestStalledReader: who subscribes to everything and reads nothing costs a bounded amount of memory, nobody else waits
// for him for long, and the broker ends in time.
func TestStalledReader(t *testing.T) {
	b, log := start(t)
	defer stalled(t, b).Close()
	c := client(t, "tcp://"+b.Addr())
	got := subscribe(t, c, "last")
	payload := make([]byte, 32<<10)
	for range 3000 { // 94 MB, of which a sixth may wait
		c.Publish("noise", 0, false, payload)
	}
	for range 3 { // QoS 1: mochi locks each reader for its packet ID
		publish(t, c, "last", false, "after the noise")
		expect(t, got, "after the noise")
	}
	if !strings.Contains(log.String(), "doesn't read") {
		t.Errorf("log: %s", log)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 48<<20 {
		t.Errorf("%d MB are in use", m.HeapAlloc>>20)
	}
}

// TestStalledReaderAtTheEnd: start's clean-up demands that the broker ends in time.
func TestStalledReaderAtTheEnd(t *testing.T) {
	var reader net.Conn
	t.Cleanup(func() { reader.Close() }) // after the broker's end, since it is registered before
	b, _ := start(t)
	reader = stalled(t, b)
	c := client(t, "tcp://"+b.Addr())
	for range 1000 {
		c.Publish("noise", 0, false, make([]byte, 32<<10))
	}
}
