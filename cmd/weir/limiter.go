package main

import (
	"errors"
	"time"

	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/datapath"
)

// xdpLimiter is the controller's view of the datapath: the pinned control map to write, the pinned counters to read.
type xdpLimiter struct {
	sw           *datapath.Switch
	bpffs, iface string
}

func newXDPLimiter(bpffs, iface string) xdpLimiter {
	return xdpLimiter{datapath.NewSwitch(bpffs, iface), bpffs, iface}
}

func (l xdpLimiter) Enable(limit datapath.Limit, lease time.Duration) error {
	return l.sw.Enable(limit, lease)
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
		On:      control.Enforcing(),
		Limit:   control.Limit,
		Lease:   control.Lease,
		Dropped: counters.Total(datapath.VerdictDrop, datapath.ReasonSourceRate).Packets,
	}, nil
}
