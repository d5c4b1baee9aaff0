package datapath

import (
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// FuzzFrame gives the datapath any frame: it is counted once, with its length, and only a SYN can ever be dropped.
func FuzzFrame(f *testing.F) {
	te.Root(f)
	for _, x := range frames {
		b := x.frame.Bytes()
		f.Add(b)
		f.Add(b[:max(14, x.needs-1)])
	}
	p := newProgram(f, Limit{Rate: 1, Burst: 1})
	p.switchTo(modeEnforce, time.Hour)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 || len(frame) > 3000 { // what a test run takes
			return
		}
		p := &program{t, p.objs, p.read}
		action, moved := p.run(p.objs.Weir, frame, 1)
		if len(moved) != 1 {
			t.Fatalf("counted %v", moved)
		}
		for c, n := range moved {
			if n != (Count{1, uint64(len(frame))}) {
				t.Errorf("counted %+v for one frame of %d bytes", n, len(frame))
			}
			if (action == xdpDrop) != (c.verdict == VerdictDrop) || action != xdpDrop && action != xdpPass {
				t.Errorf("action %d, counted as %v", action, c)
			}
			if c.verdict == VerdictDrop && (c.class != ClassSYN || c.reason != ReasonSourceRate) {
				t.Errorf("dropped as %v", c)
			}
		}
	})
}
