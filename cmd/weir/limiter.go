package main

import (
	"errors"
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
	challenge    datapath.Challenge
	budgets      datapath.Budgets
	complaints   *console.Complaints
}

func newXDPLimiter(cfg *config.Config, budgets datapath.Budgets, iface string, log *slog.Logger) xdpLimiter {
	l := xdpLimiter{
		sw: datapath.NewSwitch(cfg.BPFFS, iface), bpffs: cfg.BPFFS, iface: iface, budgets: budgets,
		complaints: &console.Complaints{Log: log, Every: time.Hour},
	}
	if cfg.Limit.Challenge == "always" {
		l.challenge = datapath.ChallengeAlways
	}
	return l
}

// Enable limits first: that works everywhere. A challenge that can't be had is told and changes nothing else.
func (l xdpLimiter) Enable(limit datapath.Limit, lease time.Duration) error {
	if err := l.sw.Budgets(l.budgets); err != nil {
		return err
	}
	if err := l.sw.Enable(limit, lease); err != nil {
		return err
	}
	if err := l.sw.Challenge(l.challenge); err != nil {
		l.complaints.Warn(time.Now(), "SYNs are limited but not challenged", "err", err)
	}
	return nil
}

func (l xdpLimiter) Disable() error { return l.sw.Disable() }

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
	return controller.State{
		On:    control.Enforcing(),
		Limit: control.Limit,
		Lease: control.Lease,
		Dropped: counters.Total(datapath.VerdictDrop, datapath.ReasonSourceRate).Packets +
			counters.Total(datapath.VerdictDrop, datapath.ReasonPrefixRate).Packets +
			counters.Total(datapath.VerdictDrop, datapath.ReasonTotalRate).Packets +
			counters.Total(datapath.VerdictTX, datapath.ReasonSourceRate).Packets, // answered instead
	}, nil
}
