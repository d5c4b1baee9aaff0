// Package controller does what commands say: it flips the datapath's control map, keeps the lease up while the flood
// lasts, and answers every command with a status. It runs on the protected host, beside the sensor.
package controller

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/audit"
	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Bus is the connection to the broker. Its handlers run one at a time.
type Bus interface {
	Publish(context.Context, bus.Publication) error
	Subscribe(filter string, h func(bus.Message)) error
	AwaitConnection(context.Context) error
}

// Limiter is the datapath's switch. Enable replaces whatever limit and lease there was. Errors tell an operator what
// to do.
type Limiter interface {
	Enable(limit datapath.Limit, lease time.Duration) error
	Disable() error
	State() (State, error)
}

// Controller acts for one server. All of its state belongs to the goroutine of Run.
type Controller struct {
	cfg      Config
	bus      Bus
	limiter  Limiter
	log      *slog.Logger
	out      *console.Printer
	warnings console.Complaints
	reports  *reporter

	commands chan bus.Message
	retained chan wire.Status // the status that was retained before this controller started

	lease    Lease
	known    bool         // the datapath was seen since the start
	adopted  bool         // the limit was found on: whose it is may still be learned
	before   *wire.Status // what was retained, while it may still tell
	nextLook time.Time

	lists *lists     // nil for none
	audit *audit.Log // nil for none

	approvals approvals

	scaler       Scaler // nil for none
	scaling      sync.WaitGroup
	whileScaling context.Context // Run's
	scaled       chan scaled
	servers      *wire.Servers // as far as is known

	told  map[string]wire.Status // by topic, what is retained there
	asked chan chan Stats
	stats Stats
	read  time.Time // the datapath, for stats
}

const (
	connectWait = 5 * time.Second // for the first connection, before ready is said without one
	stopWait    = time.Second     // for output that is stuck
	pulseEvery  = time.Second
	retryEvery  = time.Second // a datapath that can't be read
	warnEvery   = time.Minute
)

// New returns a controller that prints to out what it receives and does.
func New(cfg Config, b Bus, l Limiter, out io.Writer, log *slog.Logger) (*Controller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Controller{
		cfg:      cfg,
		bus:      b,
		limiter:  l,
		log:      log,
		out:      console.NewPrinter(out),
		warnings: console.Complaints{Log: log, Every: warnEvery},
		commands: make(chan bus.Message),
		retained: make(chan wire.Status, 1),
		scaled:   make(chan scaled),
		told:     map[string]wire.Status{},
		asked:    make(chan chan Stats),
		stats:    Stats{Commands: map[Result]uint64{}},

		approvals: approvals{commands: cfg.Approve, within: cfg.ApproveWithin},
	}
	c.reports = newReporter(b, c.out, &c.warnings)
	return c, nil
}

// Audit has the controller note what it does, and what it refuses. It is to be called before Run.
func (c *Controller) Audit(l *audit.Log) { c.audit = l }

// Run acts until ctx ends; it is not to be run again. It calls alive once it is connected, or goes without a broker
// after 5 s, and then each second: leases are renewed without one too. A limit in force stays in force until its lease ends. Errors are
// subscriptions that the broker refuses.
func (c *Controller) Run(ctx context.Context, alive func()) error {
	ctx, cancel := context.WithCancel(ctx)
	printed := make(chan struct{})
	go func() { defer close(printed); c.out.Run(ctx) }()
	defer func() {
		cancel()
		select {
		case <-printed:
		case <-time.After(stopWait):
		}
	}()
	defer c.tendServers(ctx)()
	connected := make(chan error, 1)
	// A broker that is slow to answer must not keep a lease from being renewed.
	go func() { connected <- c.connect(ctx) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var keep, forget <-chan time.Time // never, without lists, and while nothing waits for a second person
	if c.lists != nil {
		keep = time.After(0)
	}
	pulse := time.NewTicker(pulseEvery)
	defer pulse.Stop()
	started := false
	for {
		select {
		case <-pulse.C:
			if started {
				alive()
			}
		case err := <-connected:
			if err != nil {
				return err
			}
			if ctx.Err() == nil {
				started = true
				alive()
			}
		case msg := <-c.commands:
			c.execute(time.Now(), msg)
			timer.Reset(time.Until(c.nextLook))
			forget = c.approvals.alarm(time.Now())
		case <-forget:
			c.forget(time.Now())
			forget = c.approvals.alarm(time.Now())
		case s := <-c.scaled:
			c.tellScaled(time.Now(), s)
		case reply := <-c.asked:
			reply <- c.now(time.Now())
		case <-c.cfg.Reconnected:
			c.tellAgain(time.Now())
		case was := <-c.retained:
			c.remember(time.Now(), was)
		case <-timer.C:
			c.look(time.Now())
			timer.Reset(time.Until(c.nextLook))
		case <-keep:
			c.keepLists(time.Now())
			keep = time.After(time.Until(c.lists.next))
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Controller) connect(ctx context.Context) error {
	for _, s := range []struct {
		filter string
		handle func(bus.Message)
	}{
		{c.cfg.Root.StatusRateLimiting(), c.onStatus},
		{wire.PublicFilter, c.onPublic},
		// Commands last: by then what was retained is on its way.
		{c.cfg.Root.Command(), func(msg bus.Message) {
			select {
			case c.commands <- msg:
			case <-ctx.Done():
			}
		}},
	} {
		if err := c.bus.Subscribe(s.filter, s.handle); err != nil {
			return fmt.Errorf("controller: %w", err)
		}
	}
	// Only now: a status published before the subscription would take the place of the retained one unread.
	go c.reports.run(ctx)
	wait, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := c.bus.AwaitConnection(wait); err != nil && ctx.Err() == nil {
		c.log.Warn("no broker yet: no command arrives until it is there, leases are renewed meanwhile", "err", err)
	}
	return nil
}

// onPublic shows what anybody may write; that is all that becomes of it.
func (c *Controller) onPublic(msg bus.Message) {
	c.out.Printf("Public message received on topic '%s': %s", wire.Describe([]byte(msg.Topic)), msg.Describe())
}
