package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStartThatFailsLeavesNothing lets system calls of a start fail, those late in it, which strace does from outside. Either the
// sensor says in a line why it can't start, and nothing is there, or it does without and starts. Those of attaching alone are
// refused in pkg/datapath.
func TestStartThatFailsLeavesNothing(t *testing.T) {
	s := newSite(t)
	trace := filepath.Join(t.TempDir(), "trace")
	calls := s.traced(trace, "bpf") // of a start that goes well
	if calls < 100 {
		t.Fatalf("a start made %d bpf calls: is this all of it?", calls)
	}
	const tries = 6
	var refused int
	for i := range tries {
		refused += s.inject(trace, "bpf", calls/2+i*calls/2/tries)
	}
	if refused < 2 {
		t.Errorf("only %d starts failed", refused)
	}
}

// traced counts a system call in a start of the sensor, up to where it is ready.
func (s *site) traced(trace, call string) int {
	s.t.Helper()
	p := s.Bank.Start(s.t, "strace", append([]string{"-f", "-o", trace, "-e", "trace=" + call, binary}, s.args("sensor")...)...)
	p.Await(s.t, "msg=ready", patience)
	p.Kill()
	s.mustWeir("unload")
	b, err := os.ReadFile(trace)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Count(string(b), call+"(")
}

// inject lets the nth of a system call fail, and returns 1 if the start failed with it.
func (s *site) inject(trace, call string, n int) (refused int) {
	s.t.Helper()
	fail := fmt.Sprintf("inject=%s:error=ENOMEM:when=%d", call, n)
	p := s.Bank.Start(s.t, "strace", append([]string{"-f", "-o", trace, "-e", "trace=" + call, "-e", fail, binary}, s.args("sensor")...)...)
	for start := time.Now(); !strings.Contains(p.Output(), "msg=ready"); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.Done():
			lines := strings.Split(strings.TrimSpace(p.Output()), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "weir: ") {
				s.t.Errorf("%s: %s", fail, p.Output())
			}
			s.nothingIsLeft()
			return 1
		default:
		}
		if time.Since(start) > patience {
			s.t.Fatalf("%s: neither ready nor ended: %s", fail, p.Output())
		}
	}
	p.Kill()
	s.mustWeir("unload")
	s.nothingIsLeft()
	return 0
}
