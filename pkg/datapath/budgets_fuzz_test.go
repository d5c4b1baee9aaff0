package datapath

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// FuzzBudgets gives any frame to a datapath whose budgets are all used up, and lets the host send it as well: it is counted once,
// what isn't understood passes, and what leaves stays as it is.
func FuzzBudgets(f *testing.F) {
	te.Root(f)
	for _, x := range frames {
		f.Add(x.frame.Bytes())
	}
	for _, host := range []te.Frame{back(v4), back(v6)} {
		sent := with(host, udp(40000, 53))
		for _, x := range []te.Frame{
			sent, back(sent), with(host, icmp(8, 7)), with(back(host), icmp(0, 7)), with(host, icmp(128, 7)), with(back(host), icmp(129, 7)),
			with(back(host), l4(te.ICMP{Type: 3, Body: quoting(sent, 500)})), with(back(host), l4(te.ICMP{Type: 2, Body: quoting(sent, 500)})),
			with(back(host), l4(te.ICMP{Type: 1, Body: quoting(with(sent, piece(te.Fragment{More: true})), 500)})),
			with(back(host), l4(te.ICMP{Type: 3, Body: quoting(with(host, tcp(te.ACK)), 500)})),
			with(back(host), later(1)), with(back(host), partial), with(back(sent), piece(te.Fragment{More: true, ID: 1})),
		} {
			f.Add(x.Bytes())
		}
	}
	p := newProgram(f, Limit{Rate: 1, Burst: 1})
	p.switchTo(modeEnforce, time.Hour)
	all := Budgets{ManagementPorts: DefaultManagementPorts}
	for _, c := range []Class{ClassSYN, ClassTCP, ClassRST, ClassUDP, ClassICMP, ClassFragment} {
		all.Classes[c] = Budget{Prefix: Limit{1, 1}, Total: Limit{1, 1}}
	}
	must(f, writeBudgets(p.objs.Budgets, all))
	time.Sleep(20 * time.Millisecond)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 || len(frame) > 3000 { // what a test run takes
			return
		}
		p := &program{t, p.objs, p.read}
		action, out, err := p.objs.WeirNote.Test(frame)
		if err != nil && !errors.Is(err, unix.EINVAL) { // a packet that isn't whole
			t.Fatal(err)
		}
		if err == nil && (int32(action) != tcxNext || string(out) != string(frame)) {
			t.Errorf("what leaves: action %d, % x", int32(action), out)
		}
		for range 3 {
			action, moved := p.run(p.objs.Weir, frame, 1)
			if len(moved) != 1 {
				t.Fatalf("counted %v", moved)
			}
			for c, n := range moved {
				if n != (Count{1, uint64(len(frame))}) || (action == xdpDrop) != (c.verdict == VerdictDrop) ||
					action != xdpDrop && action != xdpPass {
					t.Errorf("action %d, counted %+v as %v", action, n, c)
				}
				over := c.reason == ReasonSourceRate || c.reason == ReasonPrefixRate || c.reason == ReasonTotalRate
				if (c.verdict == VerdictDrop) != over || over && c.class == ClassOther {
					t.Errorf("counted as %v", c)
				}
			}
		}
	})
}
