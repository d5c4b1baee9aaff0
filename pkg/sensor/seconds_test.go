package sensor

import (
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

func TestSecondsTellWhatBecameOfSYNs(t *testing.T) {
	var s seconds
	var c datapath.Counters
	now := start
	tick := func(passed, dropped, challenged uint64) {
		now = now.Add(sampleEvery)
		c[datapath.ClassSYN][datapath.VerdictPass][datapath.ReasonNone].Packets += passed
		c[datapath.ClassSYN][datapath.VerdictDrop][datapath.ReasonSourceRate].Packets += dropped
		c[datapath.ClassSYN][datapath.VerdictTX][datapath.ReasonUnverified].Packets += challenged
		s.add(now, &c)
	}
	s.add(now, &c)
	for range 10 {
		tick(1, 2, 3)
	}
	for range 10 {
		tick(0, 0, 0)
	}
	for range 9 {
		tick(1, 0, 0)
	}
	got := s.report(false)
	want := []wire.Second{
		{Timestamp: wire.Timestamp(start.Add(time.Second)), Offered: 60, Dropped: 20, Challenged: 30},
		{Timestamp: wire.Timestamp(start.Add(2 * time.Second))},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
	if again := s.report(true); len(again) != 2 {
		t.Errorf("a regular report after an early one: %+v", again)
	}
	if left := s.report(true); left != nil {
		t.Errorf("told again: %+v", left)
	}

	c = datapath.Counters{} // another datapath
	for range 21 {
		tick(5, 0, 0)
	}
	if got := s.report(true); len(got) != 2 || got[0].Offered != 50 || got[1].Offered != 50 {
		t.Errorf("after a new beginning: %+v", got)
	}
	for range 10 * (maxSeconds + 5) {
		tick(1, 0, 0)
	}
	if n := len(s.report(true)); n != maxSeconds {
		t.Errorf("%d rows are kept", n)
	}
}
