package controller

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/wire"
)

// guarded runs a controller that takes its limit off, and blocks, only for two people.
func guarded(t *testing.T, scene func(*stage)) {
	t.Helper()
	b := &bustest.Fake{}
	s := &stage{t: t, bus: b, limiter: &fakeLimiter{}, cfg: DefaultConfig()}
	s.cfg.Approve = []string{wire.DisableRateLimiting, wire.BlockSource}
	runStage(s, func() {
		s.started()
		s.by("", `{"command":"enable_rate_limiting"}`)
		s.expect("nobody needs a second for that", wire.Success, wire.StateOn, "")
		scene(s)
	})
}

// by delivers a command that a person has signed.
func (s *stage) by(person, payload string) {
	from := ""
	if person != "" {
		from = "operator-" + person
	}
	s.bus.Deliver(bus.Message{Topic: s.cfg.Root.Command(), Payload: []byte(payload), From: from, Person: person})
	synctest.Wait()
}

// TestMonitorsCommand is answered by the monitor alone, and in the audit log all the same.
func TestMonitorsCommand(t *testing.T) {
	text := audited(t, func(s *stage) {
		s.by("alice", `{"command":"test_alert","id":"5","origin":"ctl"}`)
		s.by("alice", `{"command":"test_alert","id":"6","origin":"controller"}`)
		s.quiet("test_alert")
	})
	if strings.Count(text, `"kind":"command","command":"test_alert"`) != 2 ||
		!strings.Contains(text, `"id":"6","origin":"controller","signed_by":"operator-alice"`) {
		t.Error(text)
	}
}

func TestTwoPeople(t *testing.T) {
	guarded(t, func(s *stage) {
		s.by("alice", `{"command":"disable_rate_limiting","id":"1"}`)
		st := s.expect("asked", wire.Failure, wire.StateOn, "alice asks for it")
		if st.ApprovalUntil != wire.Timestamp(time.Now().Add(2*time.Minute)) || st.ID != "1" {
			t.Errorf("%+v", st)
		}
		s.expectOn("asked", true)
		s.by("alice", `{"command":"disable_rate_limiting","id":"2"}`)
		s.expect("asked again", wire.Failure, wire.StateOn, "alice asks for it")
		s.expectOn("asked again", true)
		s.by("", `{"command":"disable_rate_limiting","id":"3"}`)
		if st := s.expect("by a machine", wire.Failure, wire.StateOn, "two people must send"); st.ApprovalUntil != 0 {
			t.Errorf("%+v", st)
		}
		s.expectOn("by a machine", true)
		s.by("bob", `{"command":"disable_rate_limiting","id":"4","reason":"so do I"}`)
		s.expectOn("approved", false)
		got := s.statuses(s.cfg.Root.StatusRateLimiting())
		ids := ""
		for _, st := range got {
			ids += st.ID
			if st.Status != wire.Success || st.State != wire.StateOff || st.ApprovalUntil != 0 || !strings.HasSuffix(st.Detail, "; sent by operator-alice and operator-bob") {
				t.Errorf("%+v", st)
			}
		}
		if ids != "124" {
			t.Errorf("answers to %s", ids)
		}
		s.by("bob", `{"command":"disable_rate_limiting","id":"5"}`)
		s.expect("what was approved is so once", wire.Failure, wire.StateOff, "bob asks for it")
	})
}

// A limit that is loosened, or ends sooner, is one that is taken off.
func TestDisablingByAnotherName(t *testing.T) {
	guarded(t, func(s *stage) {
		for _, members := range []string{`,"rate":100000`, `,"burst":100000`, `,"ttl_seconds":1`} {
			s.by("alice", `{"command":"enable_rate_limiting"`+members+`}`)
			if st := s.expect(members, wire.Failure, wire.StateOn, "alice asks for it"); st.Rate != 100 || st.Burst != 200 || st.ApprovalUntil == 0 {
				t.Errorf("%s: %+v", members, st)
			}
		}
		s.by("alice", `{"command":"enable_rate_limiting","rate":50,"burst":200}`)
		s.expect("stricter", wire.Success, wire.StateOn, "50 SYNs per second")
		s.by("alice", `{"command":"enable_rate_limiting"}`)
		s.expect("looser", wire.Failure, wire.StateOn, "alice asks for it")
		s.by("bob", `{"command":"enable_rate_limiting"}`)
		if got := s.statuses(s.cfg.Root.StatusRateLimiting()); len(got) != 2 || got[1].Rate != 100 {
			t.Errorf("%+v", got)
		}
	})
}

func TestNobodyApproves(t *testing.T) {
	guarded(t, func(s *stage) {
		s.by("alice", `{"command":"disable_rate_limiting","id":"1"}`)
		s.statuses(s.cfg.Root.StatusRateLimiting())
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		st := s.expect("nobody came", wire.Failure, wire.StateOn, "no other operator has sent the same within 2m0s")
		if st.ID != "1" || st.ApprovalUntil != 0 {
			t.Errorf("%+v", st)
		}
		s.by("bob", `{"command":"disable_rate_limiting"}`)
		s.expect("too late", wire.Failure, wire.StateOn, "bob asks for it")
		s.expectOn("too late", true)
	})
}

// What two people send must be the same, and nobody takes all the places.
func TestTheSameCommand(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := approvals{commands: []string{wire.BlockSource}, within: time.Minute}
	block := func(person, source string, ttl float64) (int, error) {
		others, _, err := a.ask(now, wire.Command{Command: wire.BlockSource, Source: source, TTLSeconds: ttl}, person)
		return len(others), err
	}
	for _, x := range []struct {
		person, source string
		ttl            float64
		want           int
	}{
		{"alice", "192.0.2.1", 60, 0}, {"bob", "192.0.2.2", 60, 0}, {"bob", "192.0.2.1", 61, 0}, {"bob", "192.0.2.1", 60, 1}, {"carol", "192.0.2.1", 60, 0},
		{"carol", "192.0.2.1", 60, 0}, {"alice", "192.0.2.1", 60, 2},
	} {
		if n, err := block(x.person, x.source, x.ttl); n != x.want || err != nil {
			t.Errorf("%+v: %d, %v", x, n, err)
		}
	}
	for i := range maxOwn {
		if _, err := block("mallory", fmt.Sprintf("198.51.100.%d", i), 0); err != nil {
			t.Error(err)
		}
	}
	if _, err := block("mallory", "198.51.100.99", 0); err == nil {
		t.Error("mallory takes more places than his")
	}
	if n, err := block("dave", "198.51.100.1", 0); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	now = now.Add(time.Minute)
	if n, err := block("mallory", "198.51.100.99", 0); n != 0 || err != nil {
		t.Errorf("after the others' end: %d, %v", n, err)
	}
	if got := a.expired(now); len(got) != maxOwn-1+2 || len(a.waiting) != 1 {
		t.Errorf("%d have ended, %d wait", len(got), len(a.waiting))
	}
}

func TestApprovalSettings(t *testing.T) {
	c := DefaultConfig()
	c.Approve = []string{"disable_rate_limits"}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "give some of enable_rate_limiting, disable_rate_limiting") {
		t.Error(err)
	}
	c.Approve, c.ApproveWithin = []string{wire.DisableRateLimiting}, 0
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "approval within 0s") {
		t.Error(err)
	}
}
