package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/footprint"
	"github.com/weir-sensor/weir/pkg/metrics"
	"github.com/weir-sensor/weir/pkg/watchdog"
	"github.com/weir-sensor/weir/pkg/wire"
)

// part is one running component.
type part struct {
	name string
	run  func(ctx context.Context, alive func()) error // calls alive when it's ready, and then whenever it has moved
	last bool                                          // to end: others say goodbye through it
	free bool                                          // to hang: the rest is worth more without it than started again
}

// freeWait is how long a start waits for a part that may hang. Tests have less time.
var freeWait = 20 * time.Second

// runAll runs parts until ctx ends or one of them fails. Each starts when the one before it is ready; when all are, or have had their
// time, systemd and the log are told, and from then on systemd as long as all of them move.
func runAll(ctx context.Context, log *slog.Logger, parts ...part) error {
	group, ctx := errgroup.WithContext(ctx)
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var others sync.WaitGroup
	others.Add(1) // the start itself
	started := sync.OnceFunc(others.Done)
	var dog watchdog.Dog
	defer started()
	context.AfterFunc(ctx, func() {
		others.Wait()
		end()
	})
	for _, p := range parts {
		isReady := make(chan struct{})
		ready := sync.OnceFunc(func() { close(isReady) })
		moved := func() {}
		if !p.free {
			moved = dog.Part(p.name)
		}
		alive := func() { moved(); ready() }
		run := func() error {
			until := ctx
			if p.last {
				until = lasting
			} else {
				defer others.Done()
			}
			if err := p.run(until, alive); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		}
		if !p.last {
			others.Add(1)
		}
		group.Go(run)
		var enough <-chan time.Time // never
		if p.free {
			enough = time.After(freeWait)
		}
		select {
		case <-isReady:
		case <-enough:
			log.Warn("it isn't ready yet: everything else goes on", "component", p.name)
		case <-ctx.Done():
			started()
			return group.Wait()
		}
	}
	started()
	log.Info("ready")
	if err := watchdog.Ready(); err != nil {
		log.Warn("it will take weir for one that isn't ready", "err", err)
	}
	group.Go(func() error { dog.Watch(ctx, log); return nil })
	group.Go(func() error { settle(ctx, log); return nil })
	return group.Wait()
}

const (
	settleAfter = 10 * time.Second // when the start is over: everything has been done once
	settleEvery = time.Minute
)

// settle gives back what only the start needed.
func settle(ctx context.Context, log *slog.Logger) {
	select {
	case <-time.After(settleAfter):
	case <-ctx.Done():
		return
	}
	for err := footprint.Shrink(); ; err = footprint.DropProgram() {
		if err != nil {
			log.Debug("memory isn't given back", "err", err)
		}
		select {
		case <-time.After(settleEvery):
		case <-ctx.Done():
			return
		}
	}
}

// setup is what every component needs.
type setup struct {
	cfg     *config.Config
	log     *slog.Logger
	root    wire.Root
	command string
	who     *identities
	exports *metrics.Exporter
}

func newSetup(cmd *cobra.Command) (setup, error) {
	cfg, err := load(cmd)
	if err != nil {
		return setup{}, err
	}
	log, err := newLogger(cmd.ErrOrStderr(), cfg.Log)
	if err != nil {
		return setup{}, err
	}
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	return setup{cfg, log, cfg.Root(), cmd.Name(), &identities{}, metrics.New(version, cfg.Root().String())}, cfg.Root().Validate()
}

// connect starts to connect one component.
func (s setup) connect(component string, will *bus.Publication) (*bus.Client, error) {
	o, err := s.busOptions(component)
	if err != nil {
		return nil, err
	}
	o.Will, o.Log = will, s.log.With("component", component)
	if o.ClientID = s.cfg.Broker.ClientID; o.ClientID != "" && s.command == "up" {
		o.ClientID += "-" + component // a broker knows one client by each name
	}
	client, err := bus.Connect(o)
	if err != nil {
		return nil, err
	}
	if id, err := s.identity(component); err == nil && id != nil {
		id.renews(client)
	}
	s.exports.Bus(component, client.Stats)
	return client, nil
}

// busOptions say which broker, and as whom.
func (s setup) busOptions(component string) (bus.Options, error) {
	b := s.cfg.Broker
	o := bus.Options{Broker: b.URL, Username: b.Username, Password: b.Password, Plaintext: b.InsecurePlaintext}
	id, err := s.identity(component)
	if err != nil {
		return o, err
	}
	if id != nil {
		o.Credentials = func() bus.Credentials { return id.credentials(s.who.broker, b.AllowTLS12) }
	}
	return o, s.guard(component, id, &o)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
