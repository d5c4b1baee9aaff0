package controller

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// successive are controllers of one host, one after the other, with a broker that retains nothing.
type successive struct {
	t       *testing.T
	file    string
	limiter *fakeLimiter
	up      time.Duration // since the boot, before the bubble at hand
}

func newSuccessive(t *testing.T) *successive {
	return &successive{t: t, file: filepath.Join(t.TempDir(), "state", "limit.json"), limiter: &fakeLimiter{}, up: time.Hour}
}

func (x *successive) run(scene func(*stage)) {
	x.t.Helper()
	s := &stage{t: x.t, bus: &bustest.Fake{}, limiter: x.limiter, cfg: DefaultConfig()}
	s.cfg.File = x.file
	up, ran := x.up, time.Duration(0)
	s.cfg.Uptime = func() time.Duration { return up + time.Since(bubbleStart) }
	runStage(s, func() { scene(s); ran = time.Since(bubbleStart) })
	x.up, x.limiter.until = up+ran, x.limiter.until.Add(-ran) // each bubble begins at bubbleStart
}

func (x *successive) noted() bool {
	_, err := os.Stat(x.file)
	return err == nil
}

const alices = `{"command":"enable_rate_limiting","origin":"alice","rate":10,"burst":20}`

func TestControllerKnowsWhoseLimitItFinds(t *testing.T) {
	for name, renewed := range map[string]bool{alices: true, strings.Replace(alices, "}", `,"ttl_seconds":90}`, 1): false} {
		t.Run(name, func(t *testing.T) {
			x := newSuccessive(t)
			x.run(func(s *stage) {
				s.started()
				s.command(name)
				s.expect("enable", wire.Success, wire.StateOn, "")
				s.limiter.flood(time.Minute)
			})
			for range 2 {
				x.run(func(s *stage) {
					st := s.expect("found", wire.Success, wire.StateOn, "as commanded before")
					if st.Owner != "alice" || st.FixedEnd == renewed || st.Rate != 10 || st.Burst != 20 || st.Origin != ownOrigin {
						t.Errorf("%+v", st)
					}
					// Somebody else's idea of it comes too late.
					s.bus.Deliver(retainedOf("eve", !renewed))
					s.limiter.flood(5 * time.Second)
					s.quiet("a retained status")
				})
			}
			x.run(func(s *stage) {
				s.limiter.flood(time.Minute)
				s.expectOn("beyond the end", renewed)
			})
		})
	}
}

func retainedOf(owner string, fixed bool) bus.Message {
	payload, _ := wire.Encode(wire.Status{Command: wire.EnableRateLimiting, Status: wire.Success, State: wire.StateOn, Rate: 10, Burst: 20, Owner: owner, FixedEnd: fixed})
	return bus.Message{Topic: DefaultConfig().Root.StatusRateLimiting(), Payload: payload, Retained: true}
}

func TestControllerIgnoresANoteOfAnotherTime(t *testing.T) {
	for name, change := range map[string]func(*successive){
		"another rate":   func(x *successive) { x.limiter.limit.Rate = 11 },
		"a longer burst": func(x *successive) { x.limiter.limit.Burst = 21 },
		"another end":    func(x *successive) { x.limiter.until = x.limiter.until.Add(20 * time.Second) },
		"an earlier end": func(x *successive) { x.limiter.until = x.limiter.until.Add(-20 * time.Second) },
		"another boot":   func(x *successive) { x.up = time.Minute },
		"no note":        func(x *successive) { _ = os.Remove(x.file) },
		"a broken note":  func(x *successive) { _ = os.WriteFile(x.file, []byte(`{"owner":`), 0o600) },
		"an empty note":  func(x *successive) { _ = os.WriteFile(x.file, nil, 0o600) },
		"a folder":       func(x *successive) { _, _ = os.Remove(x.file), os.Mkdir(x.file, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newSuccessive(t)
			x.run(func(s *stage) {
				s.started()
				s.command(strings.Replace(alices, "}", `,"ttl_seconds":90}`, 1))
			})
			change(x)
			x.run(func(s *stage) {
				if st := s.expect("found", wire.Success, wire.StateOn, "found on: its lease is renewed"); st.Owner != "" || st.FixedEnd {
					t.Errorf("%+v", st)
				}
				if x.noted() {
					t.Error("the note stays")
				}
				// The retained status may still tell.
				s.bus.Deliver(retainedOf("bob", false))
				if name != "another rate" && name != "a longer burst" {
					time.Sleep(time.Second)
					if st := s.expect("retained", wire.Success, wire.StateOn, "as commanded before"); st.Owner != "bob" || !x.noted() {
						t.Errorf("%+v", st)
					}
				}
			})
		})
	}
}

func TestTheNoteGoesWithTheLimit(t *testing.T) {
	x := newSuccessive(t)
	for what, end := range map[string]func(*stage){
		"disabled":          func(s *stage) { s.command(`{"command":"disable_rate_limiting"}`) },
		"ended":             func(*stage) { time.Sleep(11 * time.Minute) },
		"disabled by force": func(s *stage) { _ = s.limiter.Disable(); time.Sleep(time.Minute) },
	} {
		x.run(func(s *stage) {
			s.command(alices)
			if !x.noted() {
				t.Errorf("%s: nothing is noted", what)
			}
			end(s)
			if x.noted() {
				t.Errorf("%s: the note stays", what)
			}
		})
	}
	x.run(func(s *stage) { s.command(alices) })
	_ = x.limiter.Disable()
	x.run(func(s *stage) { s.expect("start", wire.Success, wire.StateOff, "found off") })
	if x.noted() {
		t.Error("found off, the note stays")
	}
}

// A disk that takes nothing is told once, and limits all the same.
func TestControllerWithoutADisk(t *testing.T) {
	x := newSuccessive(t)
	x.file = "/dev/null/limit.json"
	x.run(func(s *stage) {
		s.started()
		for range 3 {
			s.command(alices)
			s.expect("enable", wire.Success, wire.StateOn, "")
		}
		s.limiter.flood(time.Hour)
		s.expectOn("after an hour", true)
	})
}

func FuzzClaim(f *testing.F) {
	f.Add([]byte(`{"owner":"alice","rate":10,"burst":20,"fixed_end":true,"end":3690000000000}`))
	f.Add([]byte(`{"owner":"monitor","rate":100,"burst":200,"end":9223372036854775807}`))
	f.Add([]byte(`{"owner":"\u001b[2J","rate":0,"burst":1e9,"end":-1}`))
	f.Add([]byte(`null`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseClaim(text)
		if err != nil {
			return
		}
		if _, err := wire.Encode(wire.Status{Owner: c.Owner, Rate: c.Rate, Burst: c.Burst}); err != nil {
			t.Error(err)
		}
		file := filepath.Join(t.TempDir(), "limit.json")
		if err := writeClaim(file, c); err != nil {
			t.Fatal(err)
		}
		if again, err := readClaim(file); err != nil || again != c {
			t.Errorf("%+v became %+v, %v", c, again, err)
		}
		s := State{On: true, Limit: datapath.Limit{Rate: c.Rate, Burst: c.Burst}, Lease: time.Minute}
		if !c.fits(s, c.End-time.Minute) || c.fits(s, c.End-2*time.Minute) {
			t.Errorf("%+v", c)
		}
	})
}
