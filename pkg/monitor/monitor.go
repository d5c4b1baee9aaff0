// Package monitor compares what the sensor publishes with thresholds and with what is normal, alerts people and
// commands the controller. It needs the broker only: no privilege, no other access to the server.
package monitor

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/notify"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Bus is the connection to the broker. Its handlers run one at a time.
type Bus interface {
	Publish(context.Context, bus.Publication) error
	Subscribe(filter string, h func(bus.Message)) error
	AwaitConnection(context.Context) error
}

// Notifier tells people of alerts by other ways than the broker. It never waits, but for a test, of which it tells what came in a line.
type Notifier interface {
	Notify(wire.Alert)
	Test(ctx context.Context, now time.Time, by string) (string, error)
}

// Monitor watches one server.
type Monitor struct {
	cfg      Config
	bus      Bus
	log      *slog.Logger
	out      *console.Printer
	warnings console.Complaints
	notifier Notifier
	running  context.Context // Run's, for tests of the notifier
	commands chan Request

	mu         sync.Mutex // handlers and ticks come from different goroutines
	stopped    bool
	detectors  [numMetrics]*Detector
	mitigation *Mitigation
	silence    silence

	forged forged

	sent   map[string]uint64 // commands
	times  map[string]uint64 // that alerts were raised, by metric
	values [numMetrics]float64
}

const (
	connectWait  = 5 * time.Second // for the first connection, before ready is said without one
	stopWait     = time.Second     // for output that is stuck
	tickEvery    = time.Second
	warnEvery    = time.Minute
	commandQueue = 16
)

// New returns a monitor that prints to out what it receives and publishes.
func New(cfg Config, b Bus, out io.Writer, log *slog.Logger) (*Monitor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Monitor{
		cfg:        cfg,
		bus:        b,
		log:        log,
		out:        console.NewPrinter(out),
		warnings:   console.Complaints{Log: log, Every: warnEvery},
		commands:   make(chan Request, commandQueue),
		mitigation: NewMitigation(cfg, cfg.Origin+"-"+rand.Text()[:8]),
		silence:    silence{limit: cfg.silence()},
		sent:       map[string]uint64{},
		times:      map[string]uint64{},
		notifier:   &notify.Notifiers{}, // none
	}
	for of := range numMetrics {
		m.detectors[of] = NewDetector(cfg.detector(of))
	}
	return m, nil
}

// NotifyBy has the monitor tell of alerts by another way, too. It is to be called before Run.
func (m *Monitor) NotifyBy(n Notifier) { m.notifier = n }

// Run watches until ctx ends; it is not to be run again. It calls alive once it is connected, or goes without a broker
// after 5 s, and then each second: the connection comes by itself later. Errors are subscriptions that the broker refuses.
func (m *Monitor) Run(ctx context.Context, alive func()) error {
	ctx, cancel := context.WithCancel(ctx)
	m.running = ctx
	printed, sent := make(chan struct{}), make(chan struct{})
	go func() { defer close(printed); m.out.Run(ctx) }()
	go func() { defer close(sent); m.sendCommands(ctx) }()
	defer func() {
		m.stop()
		cancel()
		timeout := time.After(stopWait)
		for _, done := range []chan struct{}{printed, sent} {
			select {
			case <-done:
			case <-timeout:
				return
			}
		}
	}()
	if err := m.subscribe(); err != nil {
		return err
	}
	wait, cancelWait := context.WithTimeout(ctx, connectWait)
	err := m.bus.AwaitConnection(wait)
	cancelWait()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		m.log.Warn("no broker yet: nothing is watched until it is there", "err", err)
	}
	alive()
	m.tick(ctx, alive)
	return nil
}

func (m *Monitor) subscribe() error {
	root := m.cfg.Root
	for _, s := range []struct {
		filter string
		handle func(bus.Message)
	}{
		// The status first: whose limit is on should be known before the first sample is judged.
		{root.Status(), m.onStatus},
		{root.Metrics(), m.onMetric},
		{root.Command(), m.onCommand},
		{publicFilter, m.show},
	} {
		if err := m.bus.Subscribe(s.filter, m.unlessStopped(s.handle)); err != nil {
			return fmt.Errorf("monitor: %w", err)
		}
	}
	return nil
}

func (m *Monitor) unlessStopped(h func(bus.Message)) func(bus.Message) {
	return func(msg bus.Message) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.stopped {
			h(msg)
		}
	}
}

func (m *Monitor) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
}

// tick is alive after each turn, for which it needs what handlers of messages hold.
func (m *Monitor) tick(ctx context.Context, alive func()) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			m.mu.Lock()
			m.act(m.mitigation.Tick(now))
			m.silence.tick(now, m.log)
			if a, ok := m.forged.tick(now); ok {
				m.alert(a)
			}
			m.mu.Unlock()
			alive()
		case <-ctx.Done():
			return
		}
	}
}
