package datapath

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// watchers counts the programs that tc runs on what leaves the stage's host.
func (s *stage) watchers(a *Attachment) int {
	s.t.Helper()
	var r *link.QueryResult
	var err error
	s.host.Do(s.t, func() {
		r, err = link.QueryPrograms(link.QueryOptions{Target: a.place.ifindex, Attach: ebpf.AttachTCXEgress})
	})
	must(s.t, err)
	return len(r.Programs)
}

func TestWhatLeavesIsWatchedAsLongAsTheDatapathIsThere(t *testing.T) {
	s := newStage(t)
	s.opts.Budgets.Classes[ClassUDP] = Budget{Total: Limit{Rate: 1, Burst: 1}}
	a := s.mustAttach()
	for range 2 {
		if n := s.watchers(a); n != 1 || !a.Replies {
			t.Errorf("%d programs watch, and it says %v", n, a.Replies)
		}
		a = s.mustAttach()
		if !a.Adopted || a.Upgraded {
			t.Errorf("restart: %+v", a)
		}
	}
	if b, err := a.Budgets(); err != nil || b.Classes != s.opts.Budgets.Classes {
		t.Errorf("budgets %+v, %v", b, err)
	}
	// A budget in force is somebody's command, one that isn't is the configuration's.
	must(t, s.enable(DefaultLimit, time.Hour))
	s.opts.Budgets = Budgets{}
	a = s.mustAttach()
	if b, err := a.Budgets(); err != nil || b.Classes == (Budgets{}).Classes {
		t.Errorf("in force: budgets %+v, %v", b, err)
	}
	must(t, s.disable())
	a = s.mustAttach()
	if b, err := a.Budgets(); err != nil || b.Classes != (Budgets{}).Classes {
		t.Errorf("not in force: budgets %+v, %v", b, err)
	}
	s.unload()
	if n := s.watchers(a); n != 0 {
		t.Errorf("%d programs watch after unload", n)
	}
}

func TestAnOldKernelsDatapathIsAdopted(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	must(t, os.Remove(filepath.Join(a.place.dir(), pinNoteLink)))
	must(t, os.Remove(filepath.Join(a.place.dir(), pinNote)))
	if again := s.mustAttach(); !again.Adopted || again.Replies {
		t.Errorf("restart: %+v", again)
	}
}

func TestKernelsWithoutConnectionTracking(t *testing.T) {
	te.Root(t)
	objs, err := constants{seed: newSeed(), sources: MinSources, challenge: true, accept: true, frags: true, note: true}.loadWith(nil, false)
	must(t, err)
	must(t, objs.Close())
	spec, err := constants{sources: MinSources}.spec(false)
	must(t, err)
	for name, prog := range spec.Programs {
		for _, ins := range prog.Instructions {
			if ins.IsKfuncCall() && trackingCalls[ins.Reference()] {
				t.Errorf("%s calls %s", name, ins.Reference())
			}
		}
	}
}

// Before Linux 6.6 nobody notes what leaves: who has connected its socket is known all the same.
func TestConnectedSocketsAreKnownWithoutTC(t *testing.T) {
	b := &challenged{BankNet: te.Bank(t), t: t}
	objs, err := constants{seed: newSeed(), sources: MinSources}.load(nil)
	must(t, err)
	t.Cleanup(func() { must(t, objs.Close()) })
	must(t, objs.prepare(constants{}, DefaultLimit, "test", time.Now()))
	must(t, changeControl(objs.Control, func(raw *bpfWeirControl) {
		raw.Mode, raw.UntilNs = modeEnforce, monotonicNow()+uint64(time.Hour)
	}))
	var all Budgets
	all.Classes[ClassUDP], all.Classes[ClassFragment] = Budget{Total: Limit{1, 1}}, Budget{Total: Limit{1, 1}}
	must(t, writeBudgets(objs.Budgets, all))
	b.Bank.Do(t, func() {
		iface, err := net.InterfaceByName(b.Bank.Interface)
		must(t, err)
		l, err := link.AttachXDP(link.XDPOptions{Program: objs.Weir, Interface: iface.Index, Flags: link.XDPDriverMode})
		must(t, err)
		t.Cleanup(func() { must(t, l.Close()) })
	})
	b.serveUDP(53)
	for _, to := range []netip.AddrPort{b.Customer.Addr(53), b.Customer.Addr6(53)} {
		c, err := b.Bank.Dial(t.Context(), "udp", to.String())
		must(t, err)
		for _, size := range []int{100, 8000} {
			if n := ask(t, connectedConn{c.(*net.UDPConn)}, nil, 20, size); n != 20 {
				t.Errorf("%v: %d of 20 answers of %d bytes arrive", to, n, size)
			}
		}
		must(t, c.Close())
	}
	memory, err := objs.Cpus.Memory()
	must(t, err)
	sum, err := (&Reader{cpus: objs.Cpus, counters: memory, scratch: make([]byte, memory.Size())}).sum()
	must(t, err)
	if n := sum[ClassUDP][VerdictPass][ReasonReply].Packets; n < 70 {
		t.Errorf("%d answers passed an exhausted budget", n)
	}
}
