package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

func sample() Notice {
	return Notice{ID: "id1", Root: wire.DefaultRoot, Severity: Critical, Alert: alert("syn_packet_count", "raised")}
}

func parsed(t *testing.T, text string) *rfc5424.SyslogMessage {
	t.Helper()
	m, err := rfc5424.NewParser().Parse([]byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m.(*rfc5424.SyslogMessage)
}

func TestSyslogByEveryWay(t *testing.T) {
	datagrams := filepath.Join(t.TempDir(), "log")
	for _, way := range []string{"unix", "udp", "tcp"} {
		got := make(chan string, 1)
		var address string
		if way == "tcp" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			address = "tcp://" + l.Addr().String()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				size, _ := r.ReadString(' ') // RFC 6587, 3.4.1
				n, _ := strconv.Atoi(strings.TrimSpace(size))
				b := make([]byte, n)
				if _, err := io.ReadFull(r, b); err == nil {
					if rest, _ := io.ReadAll(r); len(rest) == 0 {
						got <- string(b)
					}
				}
			}()
		} else {
			network, local := "udp", "127.0.0.1:0"
			if way == "unix" {
				network, local = "unixgram", datagrams
			}
			c, err := net.ListenPacket(network, local)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			address = way + "://" + c.LocalAddr().String()
			go func() {
				b := make([]byte, 8192)
				if n, _, err := c.ReadFrom(b); err == nil {
					got <- string(b[:n])
				}
			}()
		}
		u, err := parse(address, "unix", "udp", "tcp")
		if err != nil {
			t.Fatal(err)
		}
		if err := newSyslog(u).send(t.Context(), sample()); err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		select {
		case text := <-got:
			m := parsed(t, text)
			if *m.Facility != facilityDaemon || *m.Severity != severityCritical || *m.Appname != "weir" || *m.MsgID != "alert" ||
				!m.Timestamp.Equal(time.UnixMicro(1729697327500000)) || *m.Message != "raised: SYN packet count exceeded threshold" {
				t.Errorf("%s: %q", way, text)
			}
			if p := (*m.StructuredData)[element]; p["server"] != wire.DefaultRoot.String() || p["value"] != "789" || p["state"] != "raised" {
				t.Errorf("%s: %v", way, p)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: nothing came", way)
		}
	}
}

func TestSyslogThatIsAway(t *testing.T) {
	for _, address := range []string{"unix:///nowhere/log", "tcp://127.0.0.1:1"} {
		u, _ := url.Parse(address)
		if err := newSyslog(u).send(t.Context(), sample()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A server that shows a certificate of nobody known isn't told anything.
func TestSyslogByTLSToAStranger(t *testing.T) {
	cert, key := te.NewAuthority(t).Server(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		text, _ := io.ReadAll(c)
		got <- text
		_ = c.Close()
	}()
	u, _ := url.Parse("tls://" + l.Addr().String())
	if err := newSyslog(u).send(t.Context(), sample()); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if text := <-got; len(text) > 0 {
		t.Errorf("it was told %q", text)
	}
}

// What anybody may say in a command's refusal gets into alerts: it must stay within its field.
func FuzzSyslog(f *testing.F) {
	for _, s := range []string{"", "plain", `a"]b\`, "line\nfeed", "\x1b[2J", "\xff\xfe", "ünï", strings.Repeat("x", 4096)} {
		f.Add(s, s)
	}
	s := newSyslog(&url.URL{Scheme: "udp", Host: "a"})
	f.Fuzz(func(t *testing.T, text, server string) {
		n := sample()
		n.Alert.Alert, n.Root.Server = text, server
		out, err := s.format(n)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(out, "\n\r\x00\x1b") {
			t.Errorf("%q", out)
		}
		m := parsed(t, out)
		if len(*m.StructuredData) != 1 || len((*m.StructuredData)[element]) != 7 {
			t.Errorf("%q became %v", out, *m.StructuredData)
		}
	})
}

// A socket that nobody reads from holds up an attempt, not its end.
func TestSyslogThatIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := newSyslog(&url.URL{Scheme: "unix", Path: path})
	for { // until the socket is full
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := s.send(ctx, sample())
		cancel()
		if err != nil {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	start := time.Now()
	time.AfterFunc(50*time.Millisecond, cancel)
	limited, end := context.WithTimeout(ctx, attemptWait)
	defer end()
	if err := s.send(limited, sample()); err == nil || time.Since(start) > attemptWait/2 {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}
