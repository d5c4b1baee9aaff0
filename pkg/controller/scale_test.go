package controller

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/scaler"
	"github.com/weir-sensor/weir/pkg/wire"
)

// fakeScaler takes a minute for each order, and says that it was done unless it is to fail.
type fakeScaler struct {
	mu     sync.Mutex
	orders []scaler.Order
	err    error
	found  scaler.Outcome
}

func (f *fakeScaler) Scale(ctx context.Context, o scaler.Order) scaler.Outcome {
	f.mu.Lock()
	f.orders = append(f.orders, o)
	err := f.err
	f.mu.Unlock()
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
		err = ctx.Err()
	}
	return scaler.Outcome{Order: &o, Detail: "done", Err: err, Servers: wire.Servers{Running: 2 + o.By, Min: 1, Max: 4, TakesSeconds: 250}}
}

func (f *fakeScaler) Tend(ctx context.Context, tell func(scaler.Outcome)) {
	tell(f.found)
	<-ctx.Done()
}

// scaling runs a controller that scales.
func scaling(t *testing.T, f *fakeScaler, approve []string, scene func(*stage)) {
	t.Helper()
	s := &stage{t: t, bus: &bustest.Fake{}, limiter: &fakeLimiter{}, cfg: DefaultConfig()}
	s.cfg.Approve = approve
	bustest.Play(t, func() (bustest.Run, error) {
		var out bytes.Buffer
		c, err := New(s.cfg, s.bus, s.limiter, &out, slog.New(slog.DiscardHandler))
		c.ScaleBy(f)
		return c.Run, err
	}, func() {
		s.started()
		scene(s)
	})
}

func (s *stage) scalings(what string, want ...string) []wire.Status {
	s.t.Helper()
	synctest.Wait()
	got := s.statuses(s.cfg.Root.StatusScaling())
	if len(got) != len(want) {
		s.t.Fatalf("%s: %d statuses, want %d: %+v", what, len(got), len(want), got)
	}
	for i, st := range got {
		if line := st.Command + " " + st.Status + " " + st.ID + ": " + st.Detail; !strings.Contains(line, want[i]) {
			s.t.Errorf("%s: %q, want %q", what, line, want[i])
		}
		if st.Servers == nil || st.State != "" {
			s.t.Errorf("%s: %+v", what, st)
		}
	}
	return got
}

func TestScalingKeepsNobodyWaiting(t *testing.T) {
	f := &fakeScaler{found: scaler.Outcome{Detail: "2 servers found", Servers: wire.Servers{Running: 2}}}
	scaling(t, f, nil, func(s *stage) {
		if st := s.scalings("start", "scale_up_servers success : 2 servers found")[0]; st.Origin != ownOrigin || st.Servers.Running != 2 {
			t.Errorf("%+v", st)
		}
		s.command(`{"command":"scale_up_servers","id":"1","origin":"bob","count":2}`)
		s.command(`{"command":"enable_rate_limiting","ttl_seconds":3600}`)
		s.expect("meanwhile", wire.Success, wire.StateOn, "")
		s.command(`{"command":"scale_up_servers","count":0}`)
		s.scalings("no count", "failure : count: give a whole number from 1 to 100")
		s.scalings("not yet")
		time.Sleep(time.Minute)
		st := s.scalings("done", "scale_up_servers success 1: done")[0]
		if st.Servers.Running != 4 || st.Servers.TakesSeconds != 250 || st.Origin != "bob" {
			t.Errorf("%+v", st)
		}
		f.err = errors.New("no health; undone: 4 servers as before")
		s.command(`{"command":"scale_down_servers","id":"2"}`)
		time.Sleep(time.Minute)
		s.scalings("fails", "scale_down_servers failure 2: no health; undone")
		if len(f.orders) != 2 || !reflect.DeepEqual(f.orders[0], scaler.Order{By: 2, Sender: scaler.Sender{ID: "1", Origin: "bob"}}) || f.orders[1].By != -1 || f.orders[1].Origin != unnamed {
			t.Errorf("%+v", f.orders)
		}
		s.command(`{"command":"disable_rate_limiting","count":2}`)
		s.expect("count elsewhere", wire.Failure, wire.StateOn, "count: only scale_up_servers")
	})
}

// TestScalingRenews: the lease of a limit doesn't wait for servers.
func TestScalingRenews(t *testing.T) {
	f := &fakeScaler{}
	scaling(t, f, nil, func(s *stage) {
		s.command(`{"command":"enable_rate_limiting"}`)
		go func() {
			for range 60 {
				s.command(`{"command":"scale_up_servers"}`)
				time.Sleep(time.Minute)
			}
		}()
		s.limiter.flood(time.Hour)
		s.expectOn("after an hour of flood and scaling", true)
	})
}

func TestScalingByTwoPeople(t *testing.T) {
	f := &fakeScaler{found: scaler.Outcome{Detail: "2 servers found"}}
	scaling(t, f, []string{wire.ScaleDownServers}, func(s *stage) {
		s.scalings("start", "found")
		s.by("alice", `{"command":"scale_down_servers","id":"1","count":2}`)
		s.by("bob", `{"command":"scale_down_servers","id":"2"}`)
		s.scalings("not the same", "failure 1: not done yet", "failure 2: not done yet")
		s.by("carol", `{"command":"scale_down_servers","id":"3","count":1}`)
		time.Sleep(time.Minute)
		s.scalings("the same", "success 2: done; sent by operator-bob and operator-carol", "success 3: done")
		want := scaler.Order{
			By: -1, Sender: scaler.Sender{ID: "3", Origin: unnamed, SignedBy: "operator-carol"},
			Others: []scaler.Sender{{ID: "2", SignedBy: "operator-bob"}},
		}
		if len(f.orders) != 1 || !reflect.DeepEqual(f.orders[0], want) {
			t.Errorf("%+v", f.orders)
		}
	})
}

// TestScalingOfTheOneBefore: its ID is answered.
func TestScalingOfTheOneBefore(t *testing.T) {
	f := &fakeScaler{found: scaler.Outcome{Order: &scaler.Order{By: 1, Sender: scaler.Sender{ID: "7", Origin: "monitor"}}, Err: errors.New("undone")}}
	scaling(t, f, nil, func(s *stage) {
		if st := s.scalings("start", "scale_up_servers failure 7: undone")[0]; st.Origin != "monitor" {
			t.Errorf("%+v", st)
		}
	})
}

// Both of two people are answered by the controller after the one that was killed.
func TestScalingOfTwoBefore(t *testing.T) {
	f := &fakeScaler{found: scaler.Outcome{Detail: "done", Order: &scaler.Order{
		By: -2, Sender: scaler.Sender{ID: "3", SignedBy: "operator-carol"}, Others: []scaler.Sender{{ID: "2", SignedBy: "operator-bob"}},
	}}}
	scaling(t, f, nil, func(s *stage) {
		s.scalings("start", "scale_down_servers success 2: done; sent by operator-bob and operator-carol", "scale_down_servers success 3: done")
	})
}

// The audit log tells how many servers were asked for, and about which source a command was.
func TestAuditOfScaling(t *testing.T) {
	text := audited(t, func(s *stage) {
		s.command(`{"command":"scale_up_servers","count":3,"id":"1"}`)
		s.command(`{"command":"scale_down_servers","id":"2"}`)
		s.command(`{"command":"block_source","source":"192.0.2.7","id":"3"}`)
	})
	for _, want := range []string{
		`"command":"scale_up_servers","servers":3,"server":`, `"command":"scale_down_servers","servers":1,"server":`,
		`"command":"block_source","source":"192.0.2.7","server":`,
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func TestEndWhileScaling(t *testing.T) {
	scaling(t, &fakeScaler{}, nil, func(s *stage) {
		s.bus.Deliver(bus.Message{Topic: s.cfg.Root.Command(), Payload: []byte(`{"command":"scale_up_servers"}`)})
		synctest.Wait()
	})
}
