package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// 10,000 connections from 62 addresses, which say nothing, or what isn't TLS, keep no command away.
func TestTenThousandConnections(t *testing.T) {
	s := newGuardedSite(t)
	s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", "0.0.0.0:8883")
	s.start("sensor", s.as("sensor")...)
	s.start("controller", s.as("controller")...)
	s.Attacker.Run(t, "ip", "route", "add", "local", "198.51.100.128/26", "dev", "lo")
	s.Bank.Run(t, "ip", "route", "add", "198.51.100.128/26", "via", s.Attacker.IPv4.String())

	const wanted, workers = 10_000, 50
	var mu sync.Mutex
	var open []net.Conn
	refused := 0
	half := make(chan struct{})
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			s.Attacker.Do(t, func() {
				for i := w; i < wanted; i += workers {
					d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(198, 51, 100, byte(128+i%62))}, Timeout: 10 * time.Second}
					c, err := d.Dial("tcp", net.JoinHostPort(s.Bank.IPv4.String(), "8883"))
					if err == nil && i%2 == 0 {
						_, err = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
					}
					mu.Lock()
					if c != nil {
						open = append(open, c)
					}
					if err != nil {
						refused++
					}
					if len(open)+refused == wanted/2 {
						close(half)
					}
					mu.Unlock()
				}
			})
		})
	}
	<-half
	order := func(verb string) {
		t.Helper()
		begin := time.Now()
		cmd := s.Customer.Command(t.Context(), binary, append([]string{"ctl", verb, "--broker", "tls://" + s.Bank.IPv4.String() + ":8883"}, s.as("operator")...)...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "success") {
			t.Errorf("%s: %v: %s", verb, err, out)
		}
		t.Logf("%s took %v", verb, time.Since(begin).Round(time.Millisecond))
	}
	order("enable-rate-limiting") // while they come
	all.Wait()
	order("disable-rate-limiting") // while as many as can be are there
	if len(open) < wanted*9/10 {
		t.Errorf("only %d connections were made: this shows little", len(open))
	}
	held := 0
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) { // the last to go may be on their way
		held = 0
		for _, c := range open {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond / 10))
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				held++
			}
		}
		if held <= 1000 || time.Now().After(deadline) {
			break
		}
	}
	t.Logf("%d connections, of which %d are left", len(open), held)
	if held > 1000 {
		t.Errorf("the broker holds %d connections of strangers", held)
	}
}
