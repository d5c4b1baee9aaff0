package policer

import (
	"io"
	"log/slog"
	"os"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/tc"
)

// Abilities are what this kernel lets this process do.
type Abilities struct {
	Police error // hold SYNs to a rate: nil if it can
	U32    bool  // they are matched by u32, for want of flower
	Bytes  bool  // by rates of bytes, for want of those of packets
}

// Probe finds them out by a policer on the loopback interface of a network namespace of its own, which ends with it.
func Probe() (a Abilities) {
	run, err := os.MkdirTemp("", "weir-probe-")
	if err != nil {
		return Abilities{Police: err}
	}
	defer func() { _ = os.RemoveAll(run) }() // a file of no length
	a.Police = tc.Sandbox(func() error {
		p, err := New(Options{Interface: "lo", Total: datapath.DefaultLimit, Run: run, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			return err
		}
		if err := p.Count(); err != nil {
			return err
		}
		s, err := p.State()
		a.U32, a.Bytes = p.opts.u32, s.Bytes
		return err
	})
	return a
}
