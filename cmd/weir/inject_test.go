package main

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestStartThatFailsLeavesNothing lets calls of bpf(2) of a start fail, over its whole length: either the sensor says in a line
// why it can't start, and nothing is there, or it does without and starts. Each of those of attaching fails in pkg/datapath.
func TestStartThatFailsLeavesNothing(t *testing.T) {
	s := newSite(t)
	_, calls := s.failing(-1)
	if calls < 100 {
		t.Fatalf("a start made %d bpf calls: is this all of it?", calls)
	}
	const tries = 8
	var refused int
	for i := range tries {
		if ready, _ := s.failing(i * calls / tries); !ready {
			refused++
		}
	}
	if refused < 2 {
		t.Errorf("only %d of %d starts failed", refused, tries)
	}
}

// failing starts the sensor while its nth call of bpf(2) fails, and checks that nothing is left of it in the end. It returns
// whether the sensor got ready, and the calls made until then.
func (s *site) failing(nth int) (ready bool, calls int) {
	s.t.Helper()
	var p *te.Process
	var end time.Duration
	s.Bank.Faults(s.t, func(c te.Call) bool {
		if c.Number != unix.SYS_BPF {
			return false
		}
		calls++
		return calls-1 == nth
	}, func() {
		p = s.Bank.Start(s.t, binary, s.args("sensor")...)
		for start := time.Now(); !strings.Contains(p.Output(), "msg=ready") && end < patience; end = time.Since(start) {
			select {
			case <-p.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
		ready = true
		p.Kill()
	})
	switch lines := strings.Split(strings.TrimSpace(p.Output()), "\n"); {
	case end >= patience:
		s.t.Fatalf("bpf call %d failed: neither ready nor ended: %s", nth, p.Output())
	case ready:
		s.mustWeir("unload")
	case !strings.HasPrefix(lines[len(lines)-1], "weir: "):
		s.t.Errorf("bpf call %d failed: %s", nth, p.Output())
	}
	s.nothingIsLeft()
	return ready, calls
}
