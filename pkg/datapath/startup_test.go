package datapath

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// traces are what a start can leave in a host and in this process.
type traces struct {
	pins     []string
	tc       [2]int // ingress, egress
	xdp      bool
	sysctls  map[string]string
	open     int // file descriptors
	programs []ebpf.ProgramID
}

func (s *stage) traces() (now traces) {
	s.t.Helper()
	now = traces{sysctls: map[string]string{}}
	if now.pins = s.pins(); slices.Equal(now.pins, []string{"weir"}) {
		now.pins = nil // without its lock nobody may remove the empty folder
	}
	s.host.Do(s.t, func() {
		p, err := locate(s.opts.BPFFS, s.opts.Interface)
		must(s.t, err)
		for i, where := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			r, err := link.QueryPrograms(link.QueryOptions{Target: p.ifindex, Attach: where})
			must(s.t, err)
			now.tc[i] = len(r.Programs)
			for _, prog := range r.Programs {
				now.programs = append(now.programs, prog.ID)
			}
		}
		settings, err := filepath.Glob("/proc/sys/net/ipv4/tcp_*")
		must(s.t, err)
		for _, path := range settings {
			if b, err := os.ReadFile(path); err == nil { // some can't be read
				now.sysctls[path] = string(b)
			}
		}
	})
	shown := s.host.Run(s.t, "ip", "link", "show", "dev", s.opts.Interface)
	now.xdp = strings.Contains(shown, "xdp")
	files, err := os.ReadDir("/proc/self/fd")
	must(s.t, err)
	now.open = len(files)
	return now
}

// differ says what a start has changed, "" if nothing.
func (was traces) differ(is traces) string {
	switch {
	case !slices.Equal(was.pins, is.pins):
		return "pins " + strings.Join(is.pins, ", ")
	case was.tc != is.tc || !slices.Equal(was.programs, is.programs):
		return "programs of tc"
	case was.xdp != is.xdp:
		return "a program of XDP"
	case !maps.Equal(was.sysctls, is.sysctls):
		return "sysctls"
	case is.open > was.open:
		return "open files"
	}
	return ""
}

// start attaches while one of its calls fails, the nth. It returns the calls made.
func (s *stage) start(nth int) (a *Attachment, calls []te.Call, err error) {
	s.t.Helper()
	s.host.Faults(s.t, func(c te.Call) bool {
		if c.Number != unix.SYS_BPF {
			c.Arg = 0
		}
		calls = append(calls, c)
		return len(calls)-1 == nth
	}, func() { a, err = Attach(s.opts) })
	return a, calls, err
}

const never = -1

// steps are the calls that are worth a start of its own: all that attach, and of each other kind the first and the last.
func steps(calls []te.Call) []int {
	kinds := map[te.Call][]int{}
	for i, c := range calls {
		kinds[c] = append(kinds[c], i)
	}
	var all []int
	for c, at := range kinds {
		if c.Number == unix.SYS_BPF && c.Arg == unix.BPF_LINK_CREATE {
			all = append(all, at...)
		} else {
			all = append(all, at[0], at[len(at)-1])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestAttachThatFailsLeavesNothing: a start whose calls fail, each in turn, is refused and leaves nothing, or does without what
// it says it does without.
func TestAttachThatFailsLeavesNothing(t *testing.T) {
	s := newStage(t)
	must(t, s.mustAttach().Close()) // what the first one finds out about the kernel is kept
	s.unload()
	a, calls, err := s.start(never)
	must(t, err)
	must(t, a.Close())
	s.unload()
	before := s.traces()
	if before.xdp || before.tc != [2]int{} || len(before.pins) != 0 {
		t.Fatalf("before: %+v", before)
	}
	refused := 0
	for _, nth := range steps(calls) {
		a, _, err := s.start(nth)
		if err == nil {
			s.checkWhole(a, calls[nth])
			must(t, a.Close())
			s.unload()
		} else {
			refused++
		}
		if left := before.differ(s.traces()); left != "" {
			t.Errorf("call %d, %+v, failed (%v): left behind: %s", nth, calls[nth], err, left)
			s.unload()
		}
	}
	if refused < 10 {
		t.Errorf("only %d starts were refused: the faults don't reach them", refused)
	}
	if a := s.mustAttach(); a.Adopted || a.NoChallenge != nil || a.NoWatch != nil || a.Tier != TierNative {
		t.Errorf("after all that: %+v", a)
	}
}

// checkWhole compares what a start says that it has with what is there.
func (s *stage) checkWhole(a *Attachment, failed te.Call) {
	s.t.Helper()
	is := s.traces()
	watched, err := a.place.has(pinEstablishedLink)
	must(s.t, err)
	info, err := a.Info()
	must(s.t, err)
	control, err := a.Control()
	must(s.t, err)
	if want := [2]int{count(info.Challenge && !info.KernelCookies), count(a.Replies)}; a.Adopted || !is.xdp || is.tc != want ||
		info.Challenge != (a.NoChallenge == nil) || info.KernelCookies != (a.NoOwnCookies != nil) || watched != (a.NoWatch == nil) || control.Enforce {
		s.t.Errorf("call %+v failed: %+v, control %+v, but there is %+v", failed, a, control, is)
	}
	for _, pin := range is.pins {
		if strings.Contains(pin, stagingPrefix) || strings.HasSuffix(pin, "-next") {
			s.t.Errorf("call %+v failed: left behind: %s", failed, pin)
		}
	}
}

func count(there bool) int {
	if there {
		return 1
	}
	return 0
}

// TestAdoptionThatFailsChangesNothing: the same over a datapath that protects.
func TestAdoptionThatFailsChangesNothing(t *testing.T) {
	s := newStage(t)
	must(t, s.mustAttach().Close())
	must(t, s.enable(Limit{Rate: 7, Burst: 9}, time.Hour))
	a, calls, err := s.start(never)
	must(t, err)
	must(t, a.Close())
	before := s.traces()
	for _, nth := range steps(calls) {
		a, _, err := s.start(nth)
		if err == nil {
			must(t, a.Close())
			if a.Upgraded { // to what could be loaded, as it says; the next start brings the rest back
				must(t, s.mustAttach().Close())
				before.programs = s.traces().programs
			}
		}
		if changed := before.differ(s.traces()); changed != "" {
			t.Fatalf("call %d, %+v, failed (%v): changed: %s", nth, calls[nth], err, changed)
		}
	}
	a = s.mustAttach()
	if c, err := a.Control(); err != nil || !a.Adopted || a.Upgraded || !c.Enforcing() || c.Limit != (Limit{7, 9}) {
		t.Errorf("after all that: %+v, %+v, %v", a, c, err)
	}
}
