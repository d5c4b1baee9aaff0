package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/datapath"
)

// xdpLimiter is the controller's view of the datapath: the pinned control map to write, the pinned counters to read.
type xdpLimiter struct {
	sw           *datapath.Switch
	bpffs, iface string
	challenge    datapath.ChallengePolicy
	budgets      datapath.Budgets
	complaints   *console.Complaints
	stance       *stance
}

func newXDPLimiter(cfg *config.Config, budgets datapath.Budgets, iface string, log *slog.Logger) (xdpLimiter, error) {
	challenge, err := challengeOf(cfg)
	return xdpLimiter{
		sw: datapath.NewSwitch(cfg.BPFFS, iface), bpffs: cfg.BPFFS, iface: iface, challenge: challenge, budgets: budgets,
		complaints: &console.Complaints{Log: log, Every: time.Hour}, stance: newStance(challenge.Armed > 0),
	}, err
}

// challengeOf takes the policy from the configuration.
func challengeOf(cfg *config.Config) (datapath.ChallengePolicy, error) {
	p := datapath.ChallengePolicy{Unverified: datapath.Limit{Rate: cfg.Limit.UnverifiedRate, Burst: cfg.Limit.UnverifiedBurst}}
	switch cfg.Limit.Challenge {
	case "always":
		p.When = datapath.ChallengeAlways
	case "auto":
		p.When = datapath.ChallengeAuto
		if cfg.Limit.Autonomous {
			p.Armed = cfg.Limit.Lease
		}
	}
	if cfg.Limit.Autonomous && p.When != datapath.ChallengeAuto {
		return p, fmt.Errorf("limit.autonomous with limit.challenge %s: only auto can act by itself", cfg.Limit.Challenge)
	}
	return p, p.Validate()
}

// Enable limits first: that works everywhere. A challenge that can't be had is told and changes nothing else.
func (l xdpLimiter) Enable(limit datapath.Limit, lease time.Duration) error {
	if err := l.sw.Budgets(l.budgets); err != nil {
		return err
	}
	if err := l.sw.Enable(limit, lease); err != nil {
		return err
	}
	l.stance.take(true)
	if err := l.sw.Challenge(l.challenge); err != nil {
		l.complaints.Warn(time.Now(), "SYNs are limited but not challenged", "err", err)
	}
	return nil
}

const (
	recheckEvery = time.Second // how long a challenge may rest on settings that have changed
	restEvery    = 10 * time.Second
)

// arm tells the datapath the policy, and if it may challenge by itself, lets it do so for as long as the controller lives and
// a lease longer. It goes on looking whether the kernel still takes part, while that matters.
func (l xdpLimiter) arm(ctx context.Context) {
	renew := max(min(l.challenge.Armed/4, time.Minute), time.Second)
	var renewed time.Time
	for told := false; ; {
		active, changed := l.stance.now()
		var err error
		if now := time.Now(); !told || !active || l.challenge.Armed > 0 && now.Sub(renewed) >= renew {
			err, renewed = l.sw.Challenge(l.challenge), now
		} else if l.challenge.When != datapath.ChallengeNever {
			err = l.sw.Recheck()
		}
		lost := told && errors.Is(err, datapath.ErrNoChallenge)
		told = err == nil
		switch {
		case lost:
			l.complaints.Warn(time.Now(), "SYNs aren't challenged any more", "err", err)
		case err != nil && l.challenge.Armed > 0:
			l.complaints.Warn(time.Now(), "the datapath can't challenge by itself", "err", err)
		} // else it is said when limiting is switched on
		pause := recheckEvery
		if !active && (told || errors.Is(err, datapath.ErrNoChallenge)) {
			pause = restEvery
		}
		select {
		case <-time.After(pause):
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

const (
	fallbackEvery = 100 * time.Millisecond
	fallbackRests = 20 * time.Second // after the last challenge: longer than it takes to put the settings back
)

// tendFallback keeps the kernel's own cookies in XDP going while they are wanted, and puts the settings back that it takes.
func (l xdpLimiter) tendFallback(ctx context.Context) {
	tended := time.Now()
	for {
		active, changed := l.stance.now()
		pause := fallbackEvery
		switch {
		case active:
			tended = time.Now()
		case time.Since(tended) > fallbackRests:
			pause = restEvery
		}
		select {
		case <-time.After(pause):
		case <-changed:
		case <-ctx.Done():
			if err := l.sw.EndFallback(); err != nil && !errors.Is(err, datapath.ErrNotAttached) {
				l.complaints.Warn(time.Now(), "settings may have stayed that were made for SYN cookies", "err", err)
			}
			return
		}
		if err := l.sw.TendFallback(); err != nil && !errors.Is(err, datapath.ErrNotAttached) {
			l.complaints.Warn(time.Now(), "SYNs to some listeners are left to the kernel", "err", err)
		}
	}
}

func (l xdpLimiter) Disable() error {
	if err := l.sw.Disable(); err != nil {
		return err
	}
	l.stance.take(false)
	return nil
}

// State opens the pins anew each time, since the datapath may have been unloaded and made again.
func (l xdpLimiter) State() (_ controller.State, err error) {
	r, err := datapath.OpenReader(l.bpffs, l.iface)
	if err != nil {
		return controller.State{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	control, err := r.Control()
	if err != nil {
		return controller.State{}, err
	}
	counters, err := r.Counters()
	if err != nil {
		return controller.State{}, err
	}
	l.stance.take(control.Enforcing())
	return controller.State{
		On:      control.Enforcing(),
		Limit:   control.Limit,
		Lease:   control.Lease,
		Dropped: stopped(&counters),
	}, nil
}

// stopped is what tells that a flood goes on: packets that were dropped, or answered for cause. Under the policy always every
// customer's SYN is answered.
func stopped(c *datapath.Counters) uint64 {
	var n uint64
	for _, reason := range []datapath.Reason{datapath.ReasonSourceRate, datapath.ReasonPrefixRate, datapath.ReasonTotalRate,
		datapath.ReasonUnverified, datapath.ReasonCookie, datapath.ReasonConnections} {
		n += c.Total(datapath.VerdictDrop, reason).Packets + c.Total(datapath.VerdictTX, reason).Packets
	}
	return n
}
