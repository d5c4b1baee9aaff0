package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/policer"
)

// The tiers of an interface that no BPF program holds.
const (
	tierPolice = "tc-police" // tc counts SYNs and can limit them
	tierNone   = "none"      // nothing does: the host's metrics are all there is
)

// view is what is known of an interface: what a BPF program counts, what tc's policer does, or both.
type view struct {
	reader *datapath.Reader // nil for none
	police *policer.Policer // nil for none
}

// tier of a view without a reader.
func (v view) tier() string {
	if v.police != nil {
		return tierPolice
	}
	return tierNone
}

// Counters takes what tc has dropped from what the program before it let pass.
func (v view) Counters() (c datapath.Counters, err error) {
	var s policer.Stats
	if v.police != nil { // first, so that the program has counted all that tc has
		if s, err = v.police.Stats(); err != nil {
			return c, err
		}
	}
	syn := &c[datapath.ClassSYN]
	if v.reader != nil {
		if c, err = v.reader.Counters(); err != nil {
			return c, err
		}
	} else {
		syn[datapath.VerdictPass][datapath.ReasonNone].Packets = s.Seen
	}
	for _, of := range [...]struct {
		reason datapath.Reason
		n      uint64
	}{{datapath.ReasonSourceRate, s.DroppedSource}, {datapath.ReasonTotalRate, s.DroppedTotal}} {
		n := of.n
		syn[datapath.VerdictDrop][of.reason].Packets += n
		for _, from := range []*datapath.Count{
			&syn[datapath.VerdictWouldDrop][datapath.ReasonSourceRate], &syn[datapath.VerdictPass][datapath.ReasonNone],
			&syn[datapath.VerdictPass][datapath.ReasonUntracked],
		} {
			taken := min(n, from.Packets)
			from.Packets -= taken
			n -= taken
		}
	}
	return c, nil
}

// Control is tc's limit where there is one.
func (v view) Control() (c datapath.Control, err error) {
	if v.reader != nil {
		if c, err = v.reader.Control(); err != nil {
			return c, err
		}
	}
	if v.police == nil {
		return c, nil
	}
	s, err := v.police.State()
	if err == nil && s.Limit != (datapath.Limit{}) {
		c.Enforce, c.Limit, c.Lease, c.Limiter = true, s.Limit, s.Lease, tierPolice
	}
	return c, err
}

// TopSources are known of a program only.
func (v view) TopSources(now time.Time, n int) ([]datapath.SourceRate, error) {
	if v.reader == nil {
		return nil, nil
	}
	return v.reader.TopSources(now, n)
}

func (v view) Close() error {
	if v.reader == nil {
		return nil
	}
	return v.reader.Close()
}

// newPolicer returns an interface's policer. It changes nothing yet.
func newPolicer(cfg *config.Config, iface string, log *slog.Logger) (*policer.Policer, error) {
	ports, err := config.Ports(cfg.ManagementPorts)
	if err != nil {
		return nil, err
	}
	return policer.New(policer.Options{
		Interface: iface, Total: datapath.Limit{Rate: cfg.Limit.UnverifiedRate, Burst: cfg.Limit.UnverifiedBurst}, Management: ports, Log: log,
	})
}

// viewOf opens what there is of an interface. It returns datapath.ErrNotAttached if weir isn't there at all.
func viewOf(cfg *config.Config, iface string) (v view, err error) {
	p, err := newPolicer(cfg, iface, slog.New(slog.DiscardHandler))
	if err != nil {
		return v, err
	}
	s, err := p.State()
	if err != nil {
		return v, err
	}
	v.police = p
	v.reader, err = datapath.OpenReader(cfg.BPFFS, iface)
	if errors.Is(err, datapath.ErrNotAttached) && s.Known && (s.Counting || s.Limit != (datapath.Limit{})) {
		err = nil
	}
	return v, err
}
