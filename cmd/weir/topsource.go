package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/sensor"
	"github.com/weir-sensor/weir/pkg/top"
	"github.com/weir-sensor/weir/pkg/wire"
)

// remote is what comes by the broker.
type remote struct{ setup }

func (r remote) Run(ctx context.Context, tell func(top.Event)) error {
	return r.watch(ctx, tell, r.root.Metrics(), r.root.Alerts(), r.root.Status())
}

// linkLook is how often the connection is looked at.
const linkLook = 200 * time.Millisecond

// watch hands over what the broker has under filters, and whether it is there.
func (s setup) watch(ctx context.Context, tell func(top.Event), filters ...string) error {
	o, err := s.busOptions("top")
	if err != nil {
		return err
	}
	o.ClientID = "weir-top-" + rand.Text() // the configured one is a component's
	client, err := bus.Connect(o)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, filter := range filters {
		err := client.Subscribe(filter, func(m bus.Message) {
			if e, ok := top.Read(s.root, time.Now(), m); ok {
				tell(e)
			}
		})
		if err != nil {
			return err
		}
	}
	look := time.NewTicker(linkLook)
	defer look.Stop()
	for was := false; ; {
		if is := client.Connected(); is != was {
			was = is
			tell(top.Event{At: time.Now(), Value: top.Link{Up: is}})
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// local is what the pinned maps of this host hold. It is read by a sensor of its own without a broker, so that the numbers mean
// what they mean in metrics; alerts and statuses come by the broker, if it is there.
type local struct {
	setup
	names []string
}

func (l local) Run(ctx context.Context, tell func(top.Event)) error {
	var all sync.WaitGroup
	defer all.Wait()
	for _, name := range l.names {
		all.Go(func() { l.follow(ctx, tell, name) })
	}
	return l.watch(ctx, tell, l.root.Alerts(), l.root.StatusRateLimiting(), l.root.StatusScaling())
}

// follow reads an interface's datapath for as long as it is there, and looks for a new one then.
func (l local) follow(ctx context.Context, tell func(top.Event), name string) {
	for ctx.Err() == nil {
		err := l.sense(ctx, tell, name)
		if ctx.Err() != nil {
			return
		}
		tell(top.Event{At: time.Now(), Value: top.Gone{Interface: name, Err: err}})
		select {
		case <-time.After(localInterval):
		case <-ctx.Done():
		}
	}
}

func (l local) sense(ctx context.Context, tell func(top.Event), name string) (err error) {
	v, err := viewOf(l.cfg, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	tier := v.tier()
	if v.reader != nil {
		info, err := v.reader.Info()
		if err != nil {
			return err
		}
		tier = info.Tier
	}
	x, err := sensor.New(sensor.Config{
		Root: l.root, Interface: name, Tier: tier, Version: version,
		Interval: localInterval, EarlyReport: l.cfg.Sensor.EarlyReport, TopSources: l.cfg.Sensor.TopSources,
	}, v, hoststats.New(), newCards([]string{name}), intoEvents{l.root, tell}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return x.Run(ctx, func() {})
}

// intoEvents is a broker that nobody else hears.
type intoEvents struct {
	root wire.Root
	tell func(top.Event)
}

func (b intoEvents) Publish(_ context.Context, p bus.Publication) error {
	if p.Topic == b.root.StatusSensor() {
		return nil // this isn't the one that others rely on
	}
	if e, ok := top.Read(b.root, time.Now(), bus.Message{Topic: p.Topic, Payload: p.Payload}); ok {
		b.tell(e)
	}
	return nil
}

func (b intoEvents) Subscribe(string, func(bus.Message)) error { return nil }

func (b intoEvents) Connected() bool { return true }
