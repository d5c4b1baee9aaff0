package controller

import (
	"context"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/wire"
)

const (
	reporterLen  = 256
	reportWait   = 5 * time.Second // for the broker's acknowledgement
	reportTries  = 4               // then something is wrong with this status, and others wait
	reportBreath = 200 * time.Millisecond
)

// reporter publishes statuses in order, so that what is retained in the end is the last one. The bus could queue them
// itself, but keeps only the newest of a retained topic, while whoever sent a command waits for its own answer.
type reporter struct {
	bus      Bus
	out      *console.Printer
	warnings *console.Complaints

	mu    sync.Mutex
	queue []bus.Publication
	wake  chan struct{} // 1 deep
}

func newReporter(b Bus, out *console.Printer, warnings *console.Complaints) *reporter {
	return &reporter{bus: b, out: out, warnings: warnings, wake: make(chan struct{}, 1)}
}

// put never blocks. When commands come faster than the broker takes the answers, the oldest answer is lost.
func (r *reporter) put(p bus.Publication) {
	r.mu.Lock()
	lost := len(r.queue) == reporterLen
	if lost {
		r.queue = append(r.queue[:0], r.queue[1:]...)
	}
	r.queue = append(r.queue, p)
	r.mu.Unlock()
	if lost {
		r.warnings.Warn(time.Now(), "answers lost: commands come faster than the broker takes them")
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) take() (bus.Publication, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return bus.Publication{}, false
	}
	p := r.queue[0]
	r.queue = append(r.queue[:0], r.queue[1:]...)
	return p, true
}

func (r *reporter) run(ctx context.Context) {
	for {
		p, ok := r.take()
		if !ok {
			select {
			case <-r.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		r.publish(ctx, p)
		if ctx.Err() != nil {
			return
		}
	}
}

func (r *reporter) publish(ctx context.Context, p bus.Publication) {
	var err error
	for range reportTries {
		if r.bus.AwaitConnection(ctx) != nil {
			return // ctx ended, or the bus was closed
		}
		wait, cancel := context.WithTimeout(ctx, reportWait)
		err = r.bus.Publish(wait, p)
		cancel()
		if err == nil {
			r.out.Printf("Published status: %s to %s", wire.Describe(p.Payload), p.Topic)
			return
		}
		select {
		case <-time.After(reportBreath):
		case <-ctx.Done():
			return
		}
	}
	r.warnings.Warn(time.Now(), "status not sent: is it allowed on the broker?", "topic", p.Topic, "err", err)
}
