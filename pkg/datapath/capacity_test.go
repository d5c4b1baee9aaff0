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
	costs, err := Capacity(DefaultLimit, Budgets{}, MinSources, true)
	must(t, err)
	if len(costs) != int(NumClasses) {
		t.Fatalf("%d classes", len(costs))
	}
	for i, c := range costs {
		if c.Class != Class(i) || c.Packet <= 0 || c.Packet > time.Millisecond || c.PerCore() < 1000 {
			t.Errorf("%+v, %.0f packets per second and core", c, c.PerCore())
		}
		if c.Drop != (c.Class == ClassSYN) {
			t.Errorf("%v: dropped is %v under a limit of SYNs", c.Class, c.Drop)
		}
	}
}
