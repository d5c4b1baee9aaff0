package datapath

import (
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func TestCapacityMeasuresEachClass(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	for class, frame := range sampleFrames() {
		if err := p.expect(frame, passed(Class(class))); err != nil {
			t.Errorf("the %v frame: %v", Class(class), err)
		}
	}
	te.Root(t)
	costs, err := Capacity(Load{Limit: DefaultLimit, Sources: MinSources, Enforce: true})
	must(t, err)
	if len(costs) != int(NumClasses) {
		t.Fatalf("%d classes", len(costs))
	}
	for i, c := range costs {
		c.plausible(t)
		if c.Class != Class(i) || c.Challenged {
			t.Errorf("%+v", c)
		}
		if (c.Verdict == VerdictDrop) != (c.Class == ClassSYN) {
			t.Errorf("%v: %v under a limit of SYNs", c.Class, c.Verdict)
		}
	}
}

func (c Cost) plausible(t *testing.T) {
	t.Helper()
	if c.Packet <= 0 || c.Packet > time.Millisecond || c.PerCore() < 1000 {
		t.Errorf("%+v, %.0f packets per second and core", c, c.PerCore())
	}
}

// The challenge is measured on frames that are answered or dropped each time: it errs if the last one wasn't.
func TestCapacityMeasuresTheChallenge(t *testing.T) {
	te.Root(t)
	bank, _ := te.Pair(t)
	for _, kernel := range []bool{false, true} {
		bank.Do(t, func() {
			costs, err := Load{Limit: DefaultLimit, Sources: MinSources, Challenge: true, KernelCookies: kernel}.challenge()
			must(t, err)
			if len(costs) != 2 || costs[0].Class != ClassSYN || costs[0].Verdict != VerdictTX || costs[1].Class != ClassTCP ||
				costs[1].Verdict != VerdictDrop {
				t.Fatalf("%+v", costs)
			}
			for _, c := range costs {
				c.plausible(t)
			}
		})
	}
}

func TestCapacityOfTC(t *testing.T) {
	te.Root(t)
	costs, err := Capacity(Load{Limit: DefaultLimit, Sources: MinSources, Enforce: true, TC: true})
	must(t, err)
	for _, c := range costs {
		c.plausible(t)
		if (c.Verdict == VerdictDrop) != (c.Class == ClassSYN) {
			t.Errorf("%v: %v under a limit of SYNs", c.Class, c.Verdict)
		}
	}
}
