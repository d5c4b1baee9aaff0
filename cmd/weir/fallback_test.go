package main

import (
	"context"
	"net"
	"strings"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// settings are tcp_syncookies and tcp_timestamps of the bank.
func (s *site) settings() string {
	s.t.Helper()
	return strings.Join(strings.Fields(s.Bank.Run(s.t, "sysctl", "-n", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_timestamps")), " ")
}

func (s *site) expectSettings(want string) {
	s.t.Helper()
	te.Eventually(s.t, patience, "settings "+want, func() bool { return s.settings() == want })
}

// TestMPTCPUnderChallenge: the settings that this takes are changed by the controller, and put back by its end, and by unload or the
// next start where everything was killed.
func TestMPTCPUnderChallenge(t *testing.T) {
	s := newSite(t)
	s.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "1")
	s.Bank.Sysctl(t, "net/ipv4/tcp_timestamps", "1")
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(true)
	s.Bank.Do(t, func() {
		l, err := cfg.Listen(context.Background(), "tcp", s.Bank.Addr(80).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
	})
	connect := func(n int) {
		t.Helper()
		if r := te.Connects(t, s.Customer, te.ConnectOptions{Target: s.Bank.Addr(80), N: n}); r.OK != n {
			t.Errorf("%v", r)
		}
	}
	begin := func() *te.Process {
		t.Helper()
		up := s.start("up", "--limit-challenge", "always")
		s.mustWeir("ctl enable-rate-limiting")
		connect(1)
		s.expectSettings("2 2")
		return up
	}

	up := begin()
	te.Eventually(t, patience, "the fallback", func() bool { return s.shown().Challenge.Fallback == "on" })
	connect(100)
	if x := s.shown().Challenge; x.OpenedKernel < 100 || x.Opened != 0 {
		t.Errorf("status %+v", x)
	}
	up.Stop()
	s.expectSettings("1 1")

	up = begin()
	s.mustWeir("ctl disable-rate-limiting")
	s.expectSettings("1 1")
	up.Kill()

	begin().Kill()
	s.expectSettings("2 2")
	s.mustWeir("unload")
	s.expectSettings("1 1")
	s.nothingIsLeft()
}
