package controller

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/audit"
	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// bubbleStart is when time begins in a bubble, says testing/synctest.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// stage is a running controller in a bubble of fake time.
type stage struct {
	t       *testing.T
	bus     *bustest.Fake
	limiter *fakeLimiter
	cfg     Config
	audit   *audit.Log // nil for none
}

func run(t *testing.T, b *bustest.Fake, l *fakeLimiter, scene func(*stage)) (printed string) {
	t.Helper()
	s := &stage{t: t, bus: b, limiter: l, cfg: DefaultConfig()}
	return runStage(s, func() { scene(s) })
}

func runStage(s *stage, scene func()) (printed string) {
	s.t.Helper()
	var out bytes.Buffer
	bustest.Play(s.t, func() (bustest.Run, error) {
		c, err := New(s.cfg, s.bus, s.limiter, &out, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		c.Audit(s.audit)
		return c.Run, nil
	}, scene)
	return out.String()
}

// audited plays a scene for a controller that has started, and returns its audit log.
func audited(t *testing.T, scene func(*stage)) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "audit.log")
	noted, err := audit.Open(audit.Options{Path: file, Bytes: 1 << 20, Files: 1}, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, bus: &bustest.Fake{}, limiter: &fakeLimiter{}, cfg: DefaultConfig(), audit: noted}
	runStage(s, func() {
		s.started()
		scene(s)
	})
	if err := noted.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *stage) command(payload string) {
	s.bus.Deliver(bus.Message{Topic: s.cfg.Root.Command(), Payload: []byte(payload)})
	synctest.Wait()
}

// statuses takes what was published on a topic.
func (s *stage) statuses(topic string) []wire.Status {
	s.t.Helper()
	var out []wire.Status
	for _, p := range s.bus.Take(topic) {
		st, err := wire.DecodeStatus(p.Payload)
		if err != nil || p.Retain == wire.IsListCommand(st.Command) {
			s.t.Errorf("status %s, %v, published as %+v", p.Payload, err, p)
		}
		out = append(out, st)
	}
	return out
}

func (s *stage) expect(what, result, state, detail string) wire.Status {
	s.t.Helper()
	got := s.statuses(s.cfg.Root.StatusRateLimiting())
	if len(got) != 1 {
		s.t.Errorf("%s: %d statuses, want one: %+v", what, len(got), got)
		return wire.Status{}
	}
	if st := got[0]; st.Status != result || st.State != state || !strings.Contains(st.Detail, detail) {
		s.t.Errorf("%s: status %+v, want %s, %s, %q", what, st, result, state, detail)
	}
	return got[0]
}

func (s *stage) quiet(what string) {
	s.t.Helper()
	if got := s.statuses(s.cfg.Root.StatusRateLimiting()); len(got) != 0 {
		s.t.Errorf("%s: statuses %+v, want none", what, got)
	}
}

func (s *stage) expectOn(what string, want bool) {
	s.t.Helper()
	if st, _ := s.limiter.State(); st.enforcing() != want {
		s.t.Errorf("%s: enforcing %v", what, !want)
	}
}

func (s *stage) started() { s.t.Helper(); s.expect("start", wire.Success, wire.StateOff, "found off") }

func TestControllerDoesWhatCommandsSay(t *testing.T) {
	printed := run(t, &bustest.Fake{}, &fakeLimiter{}, func(s *stage) {
		s.started()
		s.command(`{"command":"enable_rate_limiting"}`)
		st := s.expect("enable", wire.Success, wire.StateOn, "100 SYNs per second, burst 200")
		if st.Rate != 100 || st.Burst != 200 || st.ID != "" || st.Until != wire.Timestamp(time.Now().Add(10*time.Minute)) || st.Owner != unnamed {
			t.Errorf("status %+v", st)
		}
		s.expectOn("enable", true)
		s.command(`{"command":"enable_rate_limiting","id":"7","origin":"bob","rate":5,"burst":9,"ttl_seconds":60,"reason":"test"}`)
		st = s.expect("again, otherwise", wire.Success, wire.StateOn, "it was on already")
		if st.Rate != 5 || st.Burst != 9 || st.ID != "7" || st.Origin != "bob" || st.Owner != "bob" || !st.FixedEnd {
			t.Errorf("status %+v", st)
		}
		s.command(`{"command":"disable_rate_limiting"}`)
		s.expect("disable", wire.Success, wire.StateOff, "is off")
		s.expectOn("disable", false)
		s.command(`{"command":"disable_rate_limiting"}`)
		s.expect("disable again", wire.Success, wire.StateOff, "off already")
		s.command(`{"command":"scale_up_servers","id":"8"}`)
		s.quiet("scale")
		if got := s.statuses(s.cfg.Root.StatusScaling()); len(got) != 1 || got[0].Status != wire.Failure ||
			got[0].Detail != "no scaler is configured" || got[0].ID != "8" {
			t.Errorf("scaling: %+v", got)
		}
		s.bus.Deliver(bus.Message{Topic: "public/announcement", Payload: []byte("Heart rate is 67 BPM")})
		synctest.Wait()
	})
	for _, want := range []string{
		"Received control command: {\"command\":\"enable_rate_limiting\"}\nEnabling rate limiting...\n",
		"Disabling rate limiting...\n",
		"Scaling up servers...\n",
		"Public message received on topic 'public/announcement': Heart rate is 67 BPM\n",
		"Published status: {",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("missing %q in:\n%s", want, printed)
		}
	}
}

func TestControllerRefuses(t *testing.T) {
	run(t, &bustest.Fake{}, &fakeLimiter{}, func(s *stage) {
		s.started()
		for _, payload := range []string{
			``, `enable`, `{`, `[]`, `null`, `{"command":7}`, `{}`, `{"command":"dance","id":"1"}`,
			`{"command":"enable_rate_limiting","rate":0}`,
			`{"command":"enable_rate_limiting","rate":1000000000000}`,
			`{"command":"enable_rate_limiting","rate":"10"}`,
			`{"command":"enable_rate_limiting","ttl_seconds":0}`,
			`{"command":"enable_rate_limiting","rate":1,"burst":1000000}`,
			`{"command":"enable_rate_limiting","burst":1000000}`,
			`{"command":"enable_rate_limiting","origin":"controller"}`,
			"\xff\xfe",
		} {
			s.command(payload)
			s.expect(payload, wire.Failure, wire.StateOff, "")
		}
		topic := s.cfg.Root.Command()
		s.bus.Deliver(bus.Message{Topic: topic, Oversize: 1 << 20})
		synctest.Wait()
		s.expect("oversize", wire.Failure, wire.StateOff, "1048576 bytes")
		s.bus.Deliver(bus.Message{Topic: topic, Payload: []byte(`{"command":"enable_rate_limiting"}`), Refused: errors.New("it isn't signed")})
		synctest.Wait()
		s.expect("refused", wire.Failure, wire.StateOff, "refused: it isn't signed")
		s.bus.Deliver(bus.Message{Topic: topic, Payload: []byte(`{"command":"enable_rate_limiting"}`), Retained: true})
		s.bus.Deliver(bus.Message{Topic: "public/control", Payload: []byte(`{"command":"enable_rate_limiting"}`)})
		synctest.Wait()
		s.quiet("retained and public")
		if s.limiter.changes != 0 {
			t.Errorf("the datapath was changed %d times", s.limiter.changes)
		}
	})
}

func TestStatusTellsWhoHasSigned(t *testing.T) {
	run(t, &bustest.Fake{}, &fakeLimiter{}, func(s *stage) {
		synctest.Wait()
		s.expect("start", wire.Success, wire.StateOff, "found off")
		s.bus.Deliver(bus.Message{
			Topic: s.cfg.Root.Command(), Payload: []byte(`{"command":"enable_rate_limiting","origin":"alice"}`), From: "operator-k3v2q2xd",
		})
		synctest.Wait()
		if got := s.expect("signed", wire.Success, wire.StateOn, ""); got.Origin != "alice" || got.SignedBy != "operator-k3v2q2xd" {
			t.Errorf("%+v", got)
		}
	})
}

func TestControllerRenewsWhileTheFloodLasts(t *testing.T) {
	run(t, &bustest.Fake{}, &fakeLimiter{}, func(s *stage) {
		s.started()
		s.command(`{"command":"enable_rate_limiting"}`)
		s.expect("enable", wire.Success, wire.StateOn, "")
		s.bus.SetAway(true) // the broker has no part in it
		s.limiter.flood(time.Hour)
		s.expectOn("after an hour of flood", true)
		time.Sleep(9*time.Minute + 30*time.Second)
		s.expectOn("nine minutes after it", true)
		time.Sleep(time.Minute)
		s.expectOn("eleven minutes after it", false)
		s.bus.SetAway(false)
		time.Sleep(20 * time.Second)
		if st := s.expect("lease ended", wire.Success, wire.StateOff, "lease ended"); st.Origin != "controller" {
			t.Errorf("signed by %q", st.Origin)
		}
	})
}

func TestControllerKeepsAFixedEnd(t *testing.T) {
	run(t, &bustest.Fake{}, &fakeLimiter{}, func(s *stage) {
		s.started()
		s.command(`{"command":"enable_rate_limiting","ttl_seconds":30}`)
		s.expect("enable", wire.Success, wire.StateOn, "for 30s")
		s.limiter.flood(29 * time.Second)
		s.expectOn("before the end", true)
		s.limiter.flood(2 * time.Second)
		s.expectOn("after it", false)
		s.expect("end", wire.Success, wire.StateOff, "lease ended")
	})
}

func TestControllerAdoptsALimit(t *testing.T) {
	retained := func(fixed bool) string {
		return fmt.Sprintf(`{"timestamp":1,"command":"dance","status":"failure","detail":"","origin":"eve","state":"on","rate":100,"burst":200,"owner":"bob","fixed_end":%v}`, fixed)
	}
	for _, c := range []struct {
		name, retained, owner string
		renewed               bool
	}{
		{"of an unknown owner", "", "", true},
		{"of a known one", retained(false), "bob", true},
		{"with a fixed end", retained(true), "bob", false},
		{"not as retained", strings.Replace(retained(true), `"rate":100`, `"rate":7`, 1), "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &fakeLimiter{on: true, limit: datapath.DefaultLimit, until: bubbleStart.Add(time.Minute)}
			run(t, &bustest.Fake{}, l, func(s *stage) {
				if c.retained != "" {
					s.bus.Deliver(bus.Message{Topic: s.cfg.Root.StatusRateLimiting(), Payload: []byte(c.retained), Retained: true})
					synctest.Wait()
				}
				got := s.statuses(s.cfg.Root.StatusRateLimiting())
				if len(got) == 0 || got[len(got)-1].State != wire.StateOn || got[len(got)-1].Owner != c.owner || got[len(got)-1].Origin != ownOrigin {
					t.Errorf("statuses %+v", got)
				}
				l.flood(5 * time.Minute)
				s.expectOn("after five minutes of flood", c.renewed)
			})
		})
	}
}

func TestControllerWithoutDatapath(t *testing.T) {
	absent := fmt.Errorf("%w to eth0: start weir sensor", datapath.ErrNotAttached)
	run(t, &bustest.Fake{}, &fakeLimiter{err: absent}, func(s *stage) {
		s.quiet("nothing is known")
		s.command(`{"command":"enable_rate_limiting","id":"1"}`)
		if st := s.expect("enable", wire.Failure, "", "start weir sensor"); st.ID != "1" {
			t.Errorf("status %+v", st)
		}
		s.limiter.fail(nil)
		time.Sleep(2 * time.Second)
		s.started()
	})
}

func TestControllerNoticesWhatOthersDo(t *testing.T) {
	run(t, &bustest.Fake{}, &fakeLimiter{}, func(s *stage) {
		s.started()
		_ = s.limiter.Enable(datapath.Limit{Rate: 3, Burst: 4}, time.Hour)
		time.Sleep(time.Minute)
		if st := s.expect("on", wire.Success, wire.StateOn, "found on"); st.Rate != 3 {
			t.Errorf("status %+v", st)
		}
		_ = s.limiter.Disable()
		time.Sleep(time.Minute)
		s.expect("off", wire.Success, wire.StateOff, "not by a command")
	})
}

func TestControllerRenewsUnderAFloodOfCommands(t *testing.T) {
	run(t, &bustest.Fake{}, &fakeLimiter{}, func(s *stage) {
		s.command(`{"command":"enable_rate_limiting"}`)
		go s.limiter.flood(35 * time.Second)
		for end := time.Now().Add(35 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for range 10 {
				s.bus.Deliver(bus.Message{Topic: s.cfg.Root.Command(), Payload: []byte(`{"command":"dance"}`)})
			}
		}
		synctest.Wait()
		if s.limiter.changes != 3 { // the command and two renewals
			t.Errorf("%d changes in 35 s of 1000 commands a second", s.limiter.changes)
		}
		s.bus.Take(s.cfg.Root.StatusRateLimiting())
		s.command(`{"command":"disable_rate_limiting"}`)
		s.expect("disable", wire.Success, wire.StateOff, "")
	})
}

func TestReporterKeepsOrderAndIsBounded(t *testing.T) {
	b := bustest.Away()
	run(t, b, &fakeLimiter{}, func(s *stage) {
		for i := range 3 * reporterLen {
			s.command(fmt.Sprintf(`{"command":"dance","id":"%d"}`, i))
		}
		s.bus.SetAway(false)
		time.Sleep(time.Minute)
		got := s.statuses(s.cfg.Root.StatusRateLimiting())
		if n := len(got); n == 0 || n < reporterLen || n > reporterLen+1 || got[n-1].ID != fmt.Sprint(3*reporterLen-1) {
			t.Errorf("%d statuses: %+v", n, got)
		}
	})
}
