package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// shown is what `weir status` says of the challenge.
func (s *site) shown() status {
	s.t.Helper()
	var x status
	if err := json.Unmarshal([]byte(s.mustWeir("status", "--json")), &x); err != nil {
		s.t.Fatal(err)
	}
	return x
}

// TestAutonomousNeedsNobody: no monitor and no command, and when the controller dies it ends by itself.
func TestAutonomousNeedsNobody(t *testing.T) {
	s := newSite(t)
	s.serve()
	s.start("broker")
	s.start("sensor")
	controller := s.start("controller", "--limit-autonomous", "--limit-lease", "4s")
	te.Eventually(t, patience, "armed", func() bool { return s.shown().Challenge.ArmedSeconds > 0 })
	te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Sources: te.RandomSources})
	te.Eventually(t, patience, "challenging", func() bool { return s.shown().Challenge.Challenging })
	x := s.shown()
	if x.Mode != "observe" || x.Challenge.Policy != "auto" || x.Challenge.Starts != 1 {
		t.Errorf("status %+v", x.Challenge)
	}
	if r := te.Connects(t, s.Customer, te.ConnectOptions{Target: s.Bank.Addr(80), N: 50, Path: "/"}); r.OK != 50 {
		t.Errorf("during the flood: %v", r)
	}
	time.Sleep(5 * time.Second) // longer than the lease: the controller renews it
	if x := s.shown(); !x.Challenge.Challenging {
		t.Errorf("ended while the controller lives: %+v", x.Challenge)
	}
	controller.Kill()
	te.Eventually(t, patience, "end of the permission", func() bool {
		x := s.shown()
		return !x.Challenge.Challenging && x.Challenge.ArmedSeconds == 0
	})
}

// TestChallengeEndsWithSYNCookies: an administrator switches the kernel's SYN cookies off while SYNs are challenged, and on again.
func TestChallengeEndsWithSYNCookies(t *testing.T) {
	s := newSite(t)
	s.serve()
	s.start("broker")
	s.start("sensor")
	p := s.start("controller", "--limit-challenge", "always")
	s.mustWeir("ctl enable-rate-limiting")
	shows := func(what string, policy string, refused bool) {
		t.Helper()
		te.Eventually(t, patience, what, func() bool {
			c := s.shown().Challenge
			return c.Policy == policy && (c.Refusal != "") == refused
		})
		if r := te.Connects(t, s.Customer, te.ConnectOptions{Target: s.Bank.Addr(80), N: 10, Path: "/"}); r.OK != 10 {
			t.Errorf("%s: %v", what, r)
		}
	}
	shows("challenging", "always", false)
	s.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "0")
	shows("no challenge", "never", true)
	if out := s.mustWeir("status"); !strings.Contains(out, "tcp_syncookies is 0") || !strings.Contains(p.Output(), "aren't challenged any more") {
		t.Errorf("nobody is told: %s\n%s", out, p.Output())
	}
	s.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "1")
	shows("challenging again", "always", false)
}
