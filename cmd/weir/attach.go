package main

import (
	"context"
	"errors"
	"time"

	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/policer"
)

// tierAuto is the best that works.
const tierAuto = "auto"

// attachAll attaches to all interfaces or to none: what this start has attached is taken off again.
func (s setup) attachAll(names []string, budgets datapath.Budgets) (*datapaths, error) {
	log := s.log.With("component", "sensor")
	d := &datapaths{log: log, complaints: console.Complaints{Log: log, Every: time.Minute}}
	for _, name := range names {
		a, err := s.attach(name, budgets)
		if err == nil {
			d.all = append(d.all, a)
			continue
		}
		err = errors.Join(err, d.undo(s.cfg.BPFFS))
		d.close()
		return nil, err
	}
	return d, nil
}

// attach makes something count an interface's packets: a BPF program, or tc where there can't be one and nobody insists.
func (s setup) attach(iface string, budgets datapath.Budgets) (*attached, error) {
	log := s.log.With("component", "sensor", "interface", iface)
	a := &attached{name: iface}
	p, err := newPolicer(s.cfg, iface, log)
	if err != nil {
		return nil, err
	}
	switch tier := s.cfg.Sensor.Tier; tier {
	case tierNone:
	case tierPolice:
		err = a.countByTC(p)
	default:
		held, noProgram := s.attachProgram(iface, budgets)
		if noProgram == nil {
			a.view, a.tier, a.adopted = view{held.Reader, p}, held.Tier, held.Adopted
			return a, nil
		}
		if tier != tierAuto || s.cfg.Limiter == limiterXDP || !errors.Is(noProgram, datapath.ErrNoProgram) {
			return nil, noProgram
		}
		log.Error("no BPF program can be attached: tc counts SYNs, and nothing else is counted", "err", noProgram)
		if err = a.countByTC(p); err != nil {
			log.Error("nor can tc count: only CPU, RAM and connections are told", "err", err)
			a.police, err = nil, nil
		}
	}
	a.tier = a.view.tier()
	if err == nil {
		log.Info("attached", "tier", a.tier)
	}
	return a, err
}

func (a *attached) countByTC(p *policer.Policer) error {
	s, err := p.State()
	if err != nil {
		return err
	}
	a.police, a.adopted = p, s.Counting
	return p.Count()
}

func (s setup) attachProgram(iface string, budgets datapath.Budgets) (*datapath.Attachment, error) {
	log := s.log.With("component", "sensor", "interface", iface)
	o := datapath.Options{
		Interface: iface, BPFFS: s.cfg.BPFFS, Sources: s.cfg.Sensor.Sources, Version: version,
		Limit: datapath.Limit{Rate: s.cfg.Limit.Rate, Burst: s.cfg.Limit.Burst}, Budgets: budgets,
	}
	if s.cfg.Sensor.Tier != tierAuto {
		o.Tier = s.cfg.Sensor.Tier
	}
	a, err := datapath.Attach(o)
	if err != nil {
		return nil, err
	}
	log.Info("datapath attached", "tier", a.Tier, "adopted", a.Adopted, "upgraded", a.Upgraded)
	if a.Resized {
		log.Warn("the source table keeps its size until weir unload", "wanted", s.cfg.Sensor.Sources)
	}
	if a.NoXDP != nil {
		log.Warn("no XDP program can be attached: tc's program counts and limits, some ten times slower, and challenges nobody; "+
			"weir unload and a new start try again", "err", a.NoXDP)
	} else if a.NoChallenge != nil {
		log.Warn("SYNs can be limited here, not challenged", "err", a.NoChallenge)
	}
	if a.NoOwnCookies != nil {
		log.Info("SYNs are challenged by the kernel's cookies: net.ipv4.tcp_syncookies and tcp_timestamps are 2 meanwhile",
			"err", a.NoOwnCookies)
	}
	if a.NoWatch != nil {
		log.Warn("clients count as verified only once they were challenged, and limit.connections doesn't act", "err", a.NoWatch)
	}
	if !a.Replies && len(budgetStatuses(budgets)) > 0 {
		log.Warn("before Linux 6.6 budgets may drop replies to UDP sockets that aren't connected, and to pings")
	}
	if a.Tier == datapath.TierGeneric {
		why := "the driver has no XDP"
		if s.cfg.Sensor.Tier == datapath.TierGeneric {
			why = "sensor.tier asks for generic XDP"
		}
		log.Warn(why + ": the kernel builds every packet before it is dropped, some ten times slower")
	}
	return a, nil
}

// expire ends tc's limits whose time is over while the sensor lives, since the controller may have died.
func (d *datapaths) expire(ctx context.Context) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		for _, a := range d.all {
			if a.police == nil {
				continue
			}
			if _, err := a.police.Expire(); err != nil {
				d.complaints.Warn(time.Now(), "tc's limit can't be looked after", "interface", a.name, "err", err)
			}
		}
	}
}
