package export

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startFront runs HAProxy before a broker, beside the configuration that Debian's package comes with.
func startFront(t *testing.T, broker string) (address string) {
	t.Helper()
	te.Tool(t, "haproxy")
	address = freeAddress(t)
	files, err := HAProxy(Front{Now: time.Now(), Listen: address, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := WriteFiles(dir, files); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(own, []byte("global\n    maxconn 9000\ndefaults\n    mode http\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := []string{"-f", own, "-f", filepath.Join(dir, "weir-front.cfg")}
	if out, err := exec.Command("haproxy", append(conf, "-c")...).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Fatalf("%v: %s", err, out)
	}
	te.Local().Start(t, "haproxy", append(conf, "-db")...)
	te.Eventually(t, 10*time.Second, "HAProxy listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return address
}

// from connects from a source, which is an address of loopback here.
func from(source, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 5 * time.Second}
	return d.Dial("tcp", address)
}

// closed tells whether the other side has ended a connection.
func closed(c net.Conn, within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestFrontPassesTLSThrough(t *testing.T) {
	w := newWorld(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			address := startFront(t, k.start(t, w))
			operator, viewer := w.of(t, trust.Operator, roots[2]), w.of(t, trust.Viewer, roots[2])
			reader := w.session(t, address, viewer)
			wait(t, reader.Subscribe(roots[2].Command(), 1, nil))
			wait(t, w.session(t, address, operator).Publish(roots[2].Command(), 1, false, "command"))
			te.Eventually(t, 5*time.Second, "command", func() bool { return reader.has(roots[2].Command(), "command") })
			if s := w.connect(address, viewer, func(o *mqtt.ClientOptions) { o.SetTLSConfig(w.ca.Client(nil)) }); s != nil {
				t.Error("the broker doesn't ask for a certificate any more")
			}
			plain, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			if _, err := io.WriteString(plain, "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"); err != nil || !closed(plain, 2*time.Second) {
				t.Errorf("plaintext isn't refused at once: %v", err)
			}
			silent, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			if k.name == "embedded" && (closed(silent, 5*time.Second) || !closed(silent, 10*time.Second)) {
				t.Error("who says nothing isn't sent away after 10 s")
			}
		})
	}
}

func TestFrontLimitsSources(t *testing.T) {
	w := newWorld(t)
	address := startFront(t, embedded(t, w))
	viewer := w.of(t, trust.Viewer, roots[2])
	refused := 0
	// HAProxy counts over a window that slides: on a slow machine some are forgotten before the last ones come.
	for i := 1; refused == 0 && i <= 2*frontConnects; i++ {
		within := time.Millisecond
		if i > frontConnects {
			within = 100 * time.Millisecond
		}
		c, err := from("127.0.0.2", address)
		gone := errors.Is(err, syscall.ECONNRESET) // when the reset is here before connect has returned
		if err == nil {
			gone = closed(c, within)
			c.Close()
		} else if !gone {
			t.Fatal(err)
		}
		if gone {
			refused = i
		}
	}
	if refused <= frontConnects {
		t.Errorf("the first connection of a source that is refused: number %d", refused)
	}
	for _, source := range []string{"127.0.0.1", "127.0.0.3"} { // others don't notice
		c, err := from(source, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		secured := tls.Client(c, w.ca.Client(viewer))
		if err := secured.Handshake(); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// 10,000 connections from 62 addresses, which say nothing, or what isn't TLS, keep no command away.
func TestFrontHoldsTenThousandConnections(t *testing.T) {
	w := newWorld(t)
	operator, viewer := w.of(t, trust.Operator, roots[2]), w.of(t, trust.Viewer, roots[2])
	for _, k := range kinds {
		if k.name == "embedded" {
			continue // has a door of its own
		}
		t.Run(k.name, func(t *testing.T) {
			address := startFront(t, k.start(t, w))
			open := 0
			for i := range 10_000 {
				c, err := from(fmt.Sprintf("127.0.1.%d", 1+i%62), address)
				if err != nil {
					continue
				}
				t.Cleanup(func() { c.Close() })
				if open++; i%2 == 0 {
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
				}
			}
			if open < 9_000 {
				t.Errorf("only %d connections were made: this shows little", open)
			}
			reader := w.session(t, address, viewer)
			wait(t, reader.Subscribe(roots[2].Command(), 1, nil))
			wait(t, w.session(t, address, operator).Publish(roots[2].Command(), 1, false, "command"))
			te.Eventually(t, 5*time.Second, "command", func() bool { return reader.has(roots[2].Command(), "command") })
		})
	}
}

func TestFrontRefuses(t *testing.T) {
	for _, f := range []Front{
		{Broker: ""}, {Broker: "broker"}, {Broker: "a:1\nbind *:1"}, {Broker: "a b:1"}, {Broker: "a:1", Listen: ":"}, {Broker: "a:1", Listen: "x;y:1"},
	} {
		if _, err := HAProxy(f); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
