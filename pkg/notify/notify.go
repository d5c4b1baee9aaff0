// Package notify tells Alertmanager, webhooks and syslog of the monitor's alerts. Whoever hands over an alert never waits: each
// receiver has a bounded queue of its own, and is tried again until it takes what is in it.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Notice is what became of an alert, for people.
type Notice struct {
	ID       string // of this notice: the same in each attempt
	Root     wire.Root
	Severity string // Critical or Warning
	Test     bool
	Alert    wire.Alert // AlertRaised or AlertCleared
}

// The severities.
const (
	Critical = "critical"
	Warning  = "warning"
)

// severity: a flood takes the service down, a busy host makes it slow.
func severity(metric string) string {
	switch metric {
	case "cpu_usage", "ram_usage", testMetric:
		return Warning
	}
	return Critical
}

// testMetric is a test's.
const testMetric = "test"

func (n Notice) cleared() bool { return n.Alert.State == wire.AlertCleared }

// outlet is one receiver. An error that wraps errRefused is for good.
type outlet interface {
	name() string
	send(context.Context, Notice) error
}

// errRefused is that a receiver will never take a notice.
var errRefused = errors.New("it doesn't take this")

// Notifiers are all receivers.
type Notifiers struct {
	root    wire.Root
	all     []*worker
	newID   func() string
	testing sync.Mutex
	tested  time.Time
}

// attemptWait is how long a receiver may take.
const attemptWait = 10 * time.Second

// New returns what sends to the receivers of a configuration, maybe none.
func New(cfg Config, log *slog.Logger) (*Notifiers, error) {
	outlets, err := cfg.outlets()
	if err != nil {
		return nil, err
	}
	n := &Notifiers{root: cfg.Root, newID: newID}
	for _, o := range outlets {
		n.all = append(n.all, newWorker(o, log))
	}
	return n, nil
}

// Run sends until ctx ends.
func (n *Notifiers) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for _, w := range n.all {
		workers.Go(func() { w.run(ctx) })
	}
}

// Notify takes what became of an alert. It never waits.
func (n *Notifiers) Notify(a wire.Alert) {
	if len(n.all) == 0 {
		return
	}
	notice := Notice{ID: n.newID(), Root: n.root, Severity: severity(a.Metric), Alert: a}
	for _, w := range n.all {
		w.put(notice)
	}
}

// testEvery bounds how often somebody may have people's telephones ring.
const testEvery = 5 * time.Second

// Test sends a test to each receiver, once, and tells what came of it in a line. The error does if one has failed, or there is none.
func (n *Notifiers) Test(ctx context.Context, now time.Time, by string) (string, error) {
	if len(n.all) == 0 {
		return "", errors.New("no notifier is configured: set notify.alertmanager, notify.webhook or notify.syslog of the monitor")
	}
	if !n.testing.TryLock() {
		return "", errors.New("a test is under way: wait for it")
	}
	defer n.testing.Unlock()
	if since := now.Sub(n.tested); since >= 0 && since < testEvery {
		return "", fmt.Errorf("the last test was %v ago: wait for %v", since.Round(time.Second), testEvery)
	}
	n.tested = now
	text := "weir's test alert: nothing is wrong"
	if by != "" {
		text += "; sent by " + by
	}
	at := wire.Timestamp(now)
	notice := Notice{ID: n.newID(), Root: n.root, Severity: Warning, Test: true, Alert: wire.Alert{
		Timestamp: at, Alert: text, State: wire.AlertRaised, Metric: testMetric, Cause: testMetric, Since: at,
	}}
	results := make([]error, len(n.all))
	var all sync.WaitGroup
	for i, w := range n.all {
		all.Go(func() { results[i] = w.try(ctx, notice) })
	}
	all.Wait()
	var lines []string
	for i, w := range n.all {
		result := "ok"
		if results[i] != nil {
			result = results[i].Error()
		}
		lines = append(lines, w.out.name()+": "+result)
	}
	line := strings.Join(lines, "; ")
	if errors.Join(results...) != nil {
		return "", errors.New(line)
	}
	return line, nil
}

// Stats are a receiver's, since the start.
type Stats struct {
	Name         string
	Sent, Failed uint64 // attempts
	Queued       int
	Lost         uint64 // given up
	Failing      bool   // the last attempt failed
}

// Stats may be called from any goroutine.
func (n *Notifiers) Stats() []Stats {
	var all []Stats
	for _, w := range n.all {
		all = append(all, w.now())
	}
	return all
}
