package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	randv2 "math/rand/v2"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

const (
	queueLen   = 256
	firstPause = time.Second
	maxPause   = time.Minute
)

// worker sends to one receiver, in order. One that refreshes is told again of what stands, as Alertmanager wants it.
type worker struct {
	out     outlet
	log     *slog.Logger
	refresh time.Duration // 0 for never
	wake    chan struct{} // 1 deep

	mu       sync.Mutex
	queue    []Notice
	standing map[string]Notice // raised alerts, by metric: the detectors' names, so there are few
	stats    Stats
	failures int // in a row
}

func newWorker(o outlet, log *slog.Logger) *worker {
	w := &worker{out: o, log: log.With("notifier", o.name()), wake: make(chan struct{}, 1), standing: map[string]Notice{}}
	if r, ok := o.(interface{ refreshes() time.Duration }); ok {
		w.refresh = r.refreshes()
	}
	w.stats.Name = o.name()
	return w
}

// put queues what the receiver doesn't know yet: not reminders, nor a clearing of what was never raised.
func (w *worker) put(n Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.standing[n.Alert.Metric]
	switch {
	case n.cleared() && !known, !n.cleared() && known:
		return
	case n.cleared():
		delete(w.standing, n.Alert.Metric)
	default:
		n.Alert.State = wire.AlertRaised
		w.standing[n.Alert.Metric] = n
	}
	w.enqueue(n)
}

// enqueue gives up the oldest if there is no room. The caller holds the lock.
func (w *worker) enqueue(n Notice) {
	if len(w.queue) == queueLen {
		w.queue = append(w.queue[:0], w.queue[1:]...)
		w.stats.Lost++
	}
	w.queue = append(w.queue, n)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) run(ctx context.Context) {
	var again <-chan time.Time
	if w.refresh > 0 {
		t := time.NewTicker(w.refresh)
		defer t.Stop()
		again = t.C
	}
	for {
		if !w.drain(ctx) {
			return
		}
		select {
		case <-w.wake:
		case <-again:
			w.repeat()
		case <-ctx.Done():
			return
		}
	}
}

// drain sends all that is queued. It returns false when ctx ends.
func (w *worker) drain(ctx context.Context) bool {
	for {
		n, ok := w.first()
		if !ok {
			return ctx.Err() == nil
		}
		err := w.try(ctx, n)
		if ctx.Err() != nil {
			return false
		}
		if err == nil || errors.Is(err, errRefused) {
			w.done(n, err != nil)
			continue
		}
		select {
		case <-time.After(w.pause(randv2.Float64())):
		case <-ctx.Done():
			return false
		}
	}
}

func (w *worker) first() (Notice, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return Notice{}, false
	}
	return w.queue[0], true
}

// done takes out a notice, which may have been given up meanwhile.
func (w *worker) done(n Notice, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if lost {
		w.stats.Lost++
	}
	if len(w.queue) > 0 && w.queue[0].ID == n.ID {
		w.queue = append(w.queue[:0], w.queue[1:]...)
	}
}

// try makes one attempt, and logs when attempts begin to fail and when they are well again.
func (w *worker) try(ctx context.Context, n Notice) error {
	limited, cancel := context.WithTimeout(ctx, attemptWait)
	defer cancel()
	err := w.out.send(limited, n)
	if ctx.Err() != nil && err != nil {
		return err // nobody's fault
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch was := w.stats.Failing; {
	case err == nil && was:
		w.log.Info("notifications arrive again", "failed_attempts", w.failures)
	case err != nil && (!was || errors.Is(err, errRefused)):
		w.log.Warn("a notification didn't arrive", "alert", n.Alert.Alert, "state", n.Alert.State, "err", err)
	}
	w.stats.Failing = err != nil
	if err == nil {
		w.stats.Sent++
		w.failures = 0
	} else {
		w.stats.Failed++
		w.failures++
	}
	return err
}

// pause doubles with each failure, less a random part of up to a half.
func (w *worker) pause(random float64) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := maxPause
	if w.failures < 7 {
		d = min(maxPause, firstPause<<max(0, w.failures-1))
	}
	return d - time.Duration(random*float64(d)/2)
}

// repeat queues what stands once more.
func (w *worker) repeat() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.standing {
		n.ID = newID()
		w.enqueue(n)
	}
}

func (w *worker) now() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Queued = len(w.queue)
	return s
}

func newID() string { return rand.Text() }
