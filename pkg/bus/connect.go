package bus

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/console"
)

// keepConnected dials, waits for the end, and dials again until ctx ends.
func (c *Client) keepConnected(ctx context.Context) {
	o := outage{losses: console.Fold{Every: foldFor}}
	for {
		l, err := c.connectOnce(ctx)
		if ctx.Err() != nil {
			if l != nil {
				c.leave(l)
			}
			return
		}
		if err == nil {
			if c.counts.connects.Add(1) > 1 {
				select {
				case c.again <- struct{}{}:
				default: // about to be read
				}
			}
			o.over(c.log)
			if c.opts.OnConnect != nil {
				go c.opts.OnConnect()
			}
			l, err = c.hold(ctx, l)
			c.leave(l)
			if ctx.Err() != nil {
				c.log.Info("left the broker")
				return
			}
			if time.Since(l.born) > settled {
				o.failures = 0
			}
			o.lost(c.log, err)
		} else {
			c.counts.failures.Add(1)
			o.failed(c.log, err)
		}
		o.failures++
		select {
		case <-time.After(pause(o.failures, random)):
		case <-ctx.Done():
			return
		}
	}
}

// connectOnce returns a connection with its subscriptions restored.
func (c *Client) connectOnce(ctx context.Context) (*link, error) {
	l, err := c.dial(ctx, c.opts.ClientID)
	if err != nil {
		c.mu.Lock()
		c.why = err
		c.mu.Unlock()
		return nil, err
	}
	c.mu.Lock()
	c.link = l // from here on Subscribe does it by itself
	subs := c.subs
	c.mu.Unlock()
	if err := c.restore(l, subs); err != nil {
		c.leave(l)
		return nil, err
	}
	c.mu.Lock()
	c.why = nil
	close(c.up)
	c.mu.Unlock()
	return l, nil
}

// leave ends a connection and makes it known.
func (c *Client) leave(l *link) {
	c.mu.Lock()
	c.link = nil
	select {
	case <-c.up:
		c.up = make(chan struct{})
	default:
	}
	c.mu.Unlock()
	close(l.gone)
	l.leave()
}

// outage folds the attempts of one outage into a line at its start and one at its end, and says nothing of a short one soon after
// another: a link that flaps is one complaint.
type outage struct {
	failures int
	attempts int
	since    time.Time
	known    bool   // when it began
	said     bool   // it has been logged
	reason   string // the last that was logged
	lines    int

	losses console.Fold
}

// maxReasons bounds the lines of an outage whose reason changes.
const maxReasons = 4

func (o *outage) lost(log *slog.Logger, err error) {
	o.since, o.known = time.Now(), true
	const text = "connection to the broker lost: connecting again"
	folded, ok := o.losses.Say(o.since)
	o.said = ok
	switch {
	case !ok:
		log.Debug(text, "err", err)
	case folded > 0:
		log.Warn(text, "err", err, "more", folded)
	default:
		log.Warn(text, "err", err)
	}
}

func (o *outage) failed(log *slog.Logger, err error) {
	o.attempts++
	if !o.known {
		o.since, o.known, o.said = time.Now(), true, true
	}
	reason := explain(err)
	brief := !o.said && time.Since(o.since) < foldFor
	if brief || reason == o.reason || o.lines >= maxReasons {
		log.Debug("connect to broker", "err", err)
		return
	}
	o.said, o.reason, o.lines = true, reason, o.lines+1
	log.Warn("the broker can't be reached: trying on", "err", err, "hint", reason)
}

func (o *outage) over(log *slog.Logger) {
	switch away := slog.Duration("away", time.Since(o.since).Round(time.Millisecond)); {
	case !o.known:
		log.Info("connected to the broker")
	case !o.said:
		log.Debug("connected to the broker again", away, "failed_attempts", o.attempts)
	default:
		log.Info("connected to the broker again", away, "failed_attempts", o.attempts)
	}
	*o = outage{failures: o.failures, losses: o.losses}
}

// folds log a recurring event at most once in a while, with its count.
type folds struct {
	mu    sync.Mutex
	last  map[string]time.Time
	count map[string]int
}

const foldFor = 30 * time.Second

func (f *folds) warn(log *slog.Logger, event string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.last, f.count = map[string]time.Time{}, map[string]int{}
	}
	f.count[event] += n
	if now := time.Now(); now.Sub(f.last[event]) >= foldFor {
		log.Warn(event, "lost", f.count[event])
		f.last[event], f.count[event] = now, 0
	}
}
