package datapath

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	"github.com/weir-sensor/weir/pkg/tc"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

func newTCStage(t *testing.T) *stage {
	s := newStage(t)
	s.opts.Tier = TierTC
	return s
}

// filters are those of the protected interface.
func (s *stage) filters() (all []tc.Filter) {
	s.t.Helper()
	s.host.Do(s.t, func() {
		p, err := locate(s.opts.BPFFS, s.opts.Interface)
		must(s.t, err)
		all, err = tc.Filters(p.ifindex)
		must(s.t, err)
	})
	return all
}

// What tc's program says of a frame is what XDP's says.
func TestTCCountsAsXDPDoes(t *testing.T) {
	var counts [2]map[string]Count
	for i, tier := range []string{TierNative, TierTC} {
		s := newStage(t)
		s.opts.Tier, s.opts.Limit = tier, Limit{Rate: 1, Burst: 3}
		a := s.mustAttach()
		if a.Tier != tier {
			t.Fatalf("tier %s", a.Tier)
		}
		must(t, s.enable(Limit{Rate: 1, Burst: 3}, time.Hour))
		settle()
		counts[i] = map[string]Count{}
		for _, f := range frames {
			if len(f.frame.VLANs) > 2 {
				continue // the kernel has taken the first tag off before tc sees it, which then reads one more
			}
			frame := f.frame
			frame.SrcMAC, frame.DstMAC = s.attacker.MAC, s.host.MAC
			before := s.counters(a)
			te.SendFrames(t, s.attacker, s.attacker.Interface, slices.Repeat([][]byte{frame.Bytes()}, 7))
			after := s.counters(a)
			for class, n := range after.Sub(&before) {
				for verdict, n := range n {
					for reason, n := range n {
						if Class(class) == f.class && n.Packets > 0 {
							counts[i][f.name+" "+Verdict(verdict).String()+" "+Reason(reason).String()] = Count{Packets: n.Packets}
						}
					}
				}
			}
		}
		if !s.unload() || len(s.filters()) > 0 {
			t.Errorf("%s: unload left %+v", tier, s.filters())
		}
	}
	if len(counts[0]) < len(frames)-1 {
		t.Errorf("only %d rows", len(counts[0]))
	}
	for row, n := range counts[0] {
		if counts[1][row] != n {
			t.Errorf("%s: %d by tc, %d by XDP", row, counts[1][row].Packets, n.Packets)
		}
	}
	if len(counts[1]) != len(counts[0]) {
		t.Errorf("%d rows by tc, %d by XDP", len(counts[1]), len(counts[0]))
	}
}

// Another's XDP program stays, and tc's filters of others too; weir counts and limits beside them, over restarts and upgrades.
func TestTCWhereXDPIsTaken(t *testing.T) {
	s := newStage(t)
	var sink *flood.Sink
	var err error
	s.host.Do(t, func() { sink, err = flood.NewSink(s.opts.Interface, true) })
	must(t, err)
	t.Cleanup(func() { must(t, sink.Close()) })
	te.Tool(t, "tc")
	s.host.Run(t, "tc", strings.Fields("qdisc add dev eth0 clsact")...)
	s.host.Do(t, func() { must(t, tc.AddProgram(s.ifindex(), s.passing().FD(), "another")) })
	theirs := s.filters()

	a := s.mustAttach()
	if a.Tier != TierTC || a.NoXDP == nil || a.NoChallenge == nil || a.Adopted {
		t.Errorf("%+v", a)
	}
	s.counters(a)
	again := s.mustAttach()
	if !again.Adopted || again.Upgraded {
		t.Errorf("%+v", again)
	}
	p, err := func() (p place, err error) {
		s.host.Do(t, func() { p, err = locate(s.opts.BPFFS, s.opts.Interface) })
		return p, err
	}()
	must(t, err)
	// Another build's program runs, until this one starts again.
	other := s.passing()
	s.host.Do(t, func() {
		old, err := p.open()
		must(t, err)
		must(t, errors.Join(old.hook.Update(other), os.Remove(filepath.Join(p.dir(), pinProgram)), other.Pin(filepath.Join(p.dir(), pinProgram)), old.close()))
	})
	if third := s.mustAttach(); !third.Adopted || !third.Upgraded {
		t.Errorf("%+v", third)
	}
	// Gone while the pins stay, as by tc filter del: the next start begins anew.
	for _, f := range s.filters() {
		if f.Name == filterName {
			s.host.Do(t, func() { must(t, tc.RemoveFilter(p.ifindex, f)) })
		}
	}
	s.host.Do(t, func() {
		if _, err := a.Counters(); !errors.Is(err, ErrDetached) {
			t.Errorf("error %v", err)
		}
	})
	if fourth := s.mustAttach(); fourth.Adopted {
		t.Errorf("%+v", fourth)
	}
	s.unload()
	if now := s.filters(); !slices.Equal(now, theirs) {
		t.Errorf("%+v, before %+v", now, theirs)
	}
	if left := s.pins(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Whatever fails while it is attached, nothing stays.
func TestTCAttachIsAllOrNothing(t *testing.T) {
	s := newTCStage(t)
	for n := 1; ; n++ {
		calls, failed := 0, false
		var a *Attachment
		var err error
		s.host.Faults(t, func(c te.Call) bool {
			if c.Number != unix.SYS_SENDTO {
				return false
			}
			calls++
			failed = failed || calls == n
			return calls == n
		}, func() { a, err = Attach(s.opts) })
		if err == nil {
			must(t, a.Close())
		}
		if !failed {
			must(t, err)
			break
		}
		if left := s.filters(); err != nil && len(left) > 0 {
			t.Errorf("call %d: %v left %+v", n, err, left)
		}
		if err == nil {
			s.unload()
		}
	}
	s.unload()
	if left := s.filters(); len(left) > 0 {
		t.Errorf("%+v", left)
	}
}

// counters are read in the host: tc's filters are looked for where the reader is.
func (s *stage) counters(a *Attachment) (c Counters) {
	s.t.Helper()
	s.host.Do(s.t, func() {
		var err error
		c, err = a.Counters()
		must(s.t, err)
	})
	return c
}

func (s *stage) ifindex() int {
	p, err := locate(s.opts.BPFFS, s.opts.Interface)
	must(s.t, err)
	return p.ifindex
}

// passing is a program of tc's that does nothing.
func (s *stage) passing() *ebpf.Program {
	s.t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "other", Type: ebpf.SchedCLS, License: "GPL", Instructions: passInstructions()})
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, p.Close()) })
	return p
}
