package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/policer"
)

// The ways to limit.
const (
	limiterAuto = "auto" // XDP, or tc where the sensor has found no way to attach a BPF program
	limiterXDP  = "xdp"
	limiterTC   = "tc"
)

// actuator limits one interface in the way that was chosen, and ends what the other way may have left.
type actuator struct {
	xdp        xdpLimiter
	police     *policer.Policer
	cfg        *config.Config
	iface      string
	complaints *console.Complaints
	guard      *leaseGuard
}

func newActuator(cfg *config.Config, budgets datapath.Budgets, iface string, log *slog.Logger) (actuator, error) {
	x, err := newXDPLimiter(cfg, budgets, iface, log)
	if err != nil {
		return actuator{}, err
	}
	p, err := newPolicer(cfg, iface, log)
	guard := &leaseGuard{iface: iface, complaints: x.complaints}
	return actuator{xdp: x, police: p, cfg: cfg, iface: iface, complaints: x.complaints, guard: guard}, err
}

// byTC tells which way it is now.
func (a actuator) byTC() (bool, error) {
	switch a.cfg.Limiter {
	case limiterXDP:
		return false, nil
	case limiterTC:
		return true, nil
	}
	s, err := a.police.State()
	return a.chooses(s), err
}

// chooses tells it by the policer's state: the sensor has it count where nothing else does.
func (a actuator) chooses(s policer.State) bool {
	return a.cfg.Limiter == limiterTC || a.cfg.Limiter == limiterAuto && s.Counting
}

// Enable begins before it ends the other way, so that there is no gap.
func (a actuator) Enable(limit datapath.Limit, lease time.Duration) error {
	tc, err := a.byTC()
	if err != nil {
		return err
	}
	if !tc {
		return errors.Join(a.xdp.Enable(limit, lease), a.endTC())
	}
	if err := a.police.Enable(limit, lease); err != nil {
		return err
	}
	if err := a.guard.start(); err != nil {
		a.complaints.Warn(time.Now(), "nobody would end tc's limit in time if weir were killed", "err", err)
	}
	return a.endXDP()
}

func (a actuator) endTC() error {
	s, err := a.police.State()
	if err != nil || s.Limit == (datapath.Limit{}) {
		return err
	}
	return a.police.Disable()
}

func (a actuator) endXDP() error {
	s, err := a.xdp.State()
	if errors.Is(err, datapath.ErrNotAttached) {
		return nil
	}
	if err != nil || !s.On {
		return err
	}
	return a.xdp.Disable()
}

func (a actuator) Disable() error {
	tc, err := a.byTC()
	if err != nil {
		return err
	}
	if tc {
		return errors.Join(a.police.Disable(), a.endXDP())
	}
	return errors.Join(a.xdp.Disable(), a.endTC())
}

// State is that of the way in use, or of the other one while what that has left on wasn't taken over yet.
func (a actuator) State() (controller.State, error) {
	p, err := a.police.State()
	if err != nil && a.cfg.Limiter != limiterXDP { // which doesn't need it
		return controller.State{}, err
	}
	on := p.Limit != (datapath.Limit{})
	if a.chooses(p) {
		if !on {
			if x, err := a.xdp.State(); err == nil && x.On {
				return x, nil
			}
		}
		return a.policed(p)
	}
	x, err := a.xdp.State()
	if err == nil && !x.On && on && p.Lease > 0 {
		return a.policed(p)
	}
	return x, err
}

func (a actuator) policed(s policer.State) (controller.State, error) {
	counts, err := a.police.Stats()
	return controller.State{
		On: s.Limit != (datapath.Limit{}), Limit: s.Limit, Lease: s.Lease, Dropped: counts.DroppedSource + counts.DroppedTotal,
	}, err
}

// takeOver goes on with what the other way has left on, as when the choice was changed.
func (a actuator) takeOver() error {
	tc, err := a.byTC()
	if err != nil {
		return err
	}
	if tc {
		s, err := a.xdp.State()
		if errors.Is(err, datapath.ErrNotAttached) || err == nil && (!s.On || s.Lease <= 0) {
			return nil
		}
		return errors.Join(err, a.Enable(s.Limit, s.Lease))
	}
	s, err := a.police.State()
	if err != nil || s.Limit == (datapath.Limit{}) || s.Lease <= 0 {
		return err
	}
	if _, err := a.xdp.State(); errors.Is(err, datapath.ErrNotAttached) {
		return nil // the sensor may yet come; until then tc goes on
	}
	return a.Enable(s.Limit, s.Lease)
}

// tend does until ctx ends what each way needs to be done all the time.
func (a actuator) tend(ctx context.Context) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	var v view
	defer func() { _ = v.Close() }()
	for {
		if err := a.tendPolice(&v, time.Now()); err != nil {
			a.complaints.Warn(time.Now(), "tc's limit can't be looked after", "interface", a.iface, "err", err)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// tendPolice ends a lease that is over, and holds those who send too much.
func (a actuator) tendPolice(v *view, now time.Time) error {
	s, err := a.police.State()
	if err == nil && s.Limit != (datapath.Limit{}) && s.Lease <= 0 {
		_, err = a.police.Expire()
		s.Limit = datapath.Limit{}
	}
	if err != nil {
		return err
	}
	if s.Limit != (datapath.Limit{}) || a.cfg.Limiter == limiterTC {
		if err := a.takeOver(); err != nil {
			return err
		}
	}
	if s.Limit == (datapath.Limit{}) {
		return nil
	}
	if v.reader == nil {
		if v.reader, err = datapath.OpenReader(a.cfg.BPFFS, a.iface); errors.Is(err, datapath.ErrNotAttached) {
			return nil
		} else if err != nil {
			return err
		}
	}
	top, err := v.reader.TopSources(now, policer.MaxOffenders)
	if err != nil {
		_ = v.Close()
		v.reader = nil
		return err
	}
	var over []netip.Prefix
	for _, t := range top {
		if t.SYNsPerSecond > float64(s.Limit.Rate) {
			over = append(over, t.Source)
		}
	}
	return a.police.Hold(now, over)
}

// describe says in the status of a command what differs from XDP's limit.
func (a actuator) describe() string {
	if tc, err := a.byTC(); err != nil || !tc {
		return ""
	}
	return fmt.Sprintf("; by tc: that is each of up to %d sources that send more, and all together are held to %d SYNs per second, burst %d",
		policer.MaxOffenders, a.cfg.Limit.UnverifiedRate, a.cfg.Limit.UnverifiedBurst)
}
