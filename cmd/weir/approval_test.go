package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// What needs two people isn't done for one, whichever keys he has.
func TestTwoPeopleDisable(t *testing.T) {
	te.Tool(t, "mosquitto_pub", "mosquitto_sub")
	s := newGuardedSite(t)
	for _, name := range []string{"alice", "bob"} {
		s.issue(name, "operator", "-", "--label", name)
	}
	s.issue("alice2", "operator", "-", "--label", "alice") // a second key of hers
	s.spread()
	s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", guardedAddr)
	s.start("sensor", s.as("sensor")...)
	s.start("controller", s.as("controller", "--approval-commands", "disable_rate_limiting", "--approval-within", "20s")...)
	r := s.reader()
	enforcing := func(about string, want bool) {
		t.Helper()
		if c, err := r.Control(); err != nil || c.Enforcing() != want {
			t.Errorf("%s: limiting is on: %v, %v", about, c.Enforcing(), err)
		}
	}
	s.mustWeir("ctl enable-rate-limiting", s.as("alice")...)
	enforcing("enabled", true)

	if out, status := s.weir("ctl disable-rate-limiting", s.as("operator")...); status != 1 || !strings.Contains(out, "two people must send this command") {
		t.Errorf("a key without a name: %d: %s", status, out)
	}
	first := s.Bank.Start(t, binary, s.args("ctl disable-rate-limiting", s.as("alice", "--reason", "the flood is over")...)...)
	first.Await(t, "alice asks for it, and it is done if another operator sends the same within 20s", patience)
	if st := s.status("waits", func(st wire.Status) bool { return st.ApprovalUntil > 0 }); st.Status != wire.Failure || st.State != wire.StateOn {
		t.Errorf("%+v", st)
	}
	again := s.Bank.Start(t, binary, s.args("ctl disable-rate-limiting", s.as("alice2")...)...)
	again.Await(t, "alice asks for it", patience)
	enforcing("two keys of one person", true)
	out := s.mustWeir("ctl disable-rate-limiting", s.as("bob")...)
	by := "disable_rate_limiting: success: rate limiting is off; sent by " + s.name("alice") + " and " + s.name("alice2") + " and " + s.name("bob")
	if !strings.Contains(out, by) {
		t.Error(out)
	}
	for _, p := range []*te.Process{first, again} {
		if err := p.Wait(patience); err != nil || !strings.Contains(p.Output(), by) {
			t.Errorf("%v: %s", err, p.Output())
		}
	}
	enforcing("two people", false)
	out = s.mustWeir("audit export", "--audit-dir", s.dir, "--format", "csv")
	if !strings.Contains(out, ",waiting,disable_rate_limiting,") {
		t.Error(out)
	}

	if out, status := s.weir("controller", "--approval-commands", "disable_rate_limiting"); status != 1 || !strings.Contains(out, "approval.commands needs commands: signed") {
		t.Errorf("without identities: %d: %s", status, out)
	}
}

// A whole site gets new keys while commands and metrics go on. Each message arrives, and the old keys are good for nothing afterwards.
func TestRotationUnderLoad(t *testing.T) {
	te.Tool(t, "mosquitto_pub", "mosquitto_sub")
	s := newGuardedSite(t)
	broker := s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", guardedAddr)
	components := map[string]*te.Process{
		"broker":     broker,
		"sensor":     s.start("sensor", s.as("sensor", "--sensor-interval", "1s")...),
		"controller": s.start("controller", s.as("controller")...),
		"monitor":    s.start("monitor", s.as("monitor", "--sensor-interval", "1s")...),
	}
	old := map[string]string{}
	for who := range components {
		old[who] = s.name(who)
	}
	statuses := s.Bank.StartCmd(t, s.mosquitto("mosquitto_sub", "viewer", "-d", "-t", root+"/status/rate_limiting"))
	statuses.Await(t, "Subscribed", patience)

	stop, sent := make(chan struct{}), make(chan int)
	go func() { // commands, as fast as one is answered
		n := 0
		defer func() { sent <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if out, status := s.weir("ctl enable-rate-limiting", s.as("operator", "--rate", "77")...); status != 0 {
				t.Errorf("command %d: %s", n, out)
			}
			n++
		}
	}()

	for who := range components {
		s.keysDo("rotate", old[who], "--out", filepath.Join(s.dir, who+".new"), "--used-in", filepath.Join(s.dir, who))
	}
	s.spread() // everybody knows the successors before anybody is one
	reload := func(what string) {
		for who, p := range components {
			from := len(p.Output())
			p.Signal(syscall.SIGHUP)
			for end := time.Now().Add(patience); !strings.Contains(p.Output()[from:], what); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%s: no %q in %s", who, what, p.Output()[from:])
				}
			}
		}
	}
	reload("identity read again")
	for who := range components {
		files, err := filepath.Glob(filepath.Join(s.dir, who+".new", "*"))
		must(t, err)
		for _, f := range files {
			must(t, os.Rename(f, filepath.Join(s.dir, who, filepath.Base(f))))
		}
	}
	reload("identity read again")
	for who, p := range components {
		if who != "broker" {
			p.Await(t, "connected to the broker with new credentials", patience)
		}
	}
	for who := range components {
		if s.name(who) == old[who] {
			t.Errorf("%s is still %s", who, old[who])
		}
		s.keysDo("revoke", old[who])
	}
	s.spread()
	reload("identity read again")
	time.Sleep(3 * time.Second) // the broker throws out who is still the old one
	close(stop)
	n := <-sent
	if got := strings.Count(statuses.Output(), `"command":"enable_rate_limiting","status":"success"`); n < 10 || got < n {
		t.Errorf("%d commands, %d answers", n, got)
	}
	for who, p := range components {
		for _, bad := range []string{"connection to the broker lost", "metrics ignored", "isn't fresh", "nobody is known", "can't be read again"} {
			if strings.Contains(p.Output(), bad) {
				t.Errorf("%s: %s: %s", who, bad, p.Output())
			}
		}
	}
	if st := s.status("signed by the new one", func(st wire.Status) bool { return st.State == wire.StateOn }); st.Rate != 77 {
		t.Errorf("%+v", st)
	}
}

// The page says what waits for a second person.
func TestPageTwoPeople(t *testing.T) {
	s := newGuardedSite(t)
	s.issue("page", "operator", "-", "--label", "page")
	s.issue("bob", "operator", "-", "--label", "bob")
	s.spread()
	s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", guardedAddr)
	s.start("sensor", s.as("sensor")...)
	s.start("controller", s.as("controller", "--approval-commands", "disable_rate_limiting")...)
	s.start("web", s.as("page", "--web-history", s.history(), "--audit-dir", s.dir)...)
	r := s.reader()
	enforcing := func(want bool) func() {
		return func() {
			if c, err := r.Control(); err != nil || c.Enforcing() != want {
				t.Errorf("limiting is on: %v, %v", c.Enforcing(), err)
			}
		}
	}
	s.browse("people", map[string]func(){
		"enforcing": enforcing(true), "observing": enforcing(false),
		"bob": func() { s.mustWeir("ctl disable-rate-limiting", s.as("bob")...) },
	})
}
