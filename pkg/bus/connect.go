package bus

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// keepConnected dials, waits for the end, and dials again until ctx ends.
func (c *Client) keepConnected(ctx context.Context) {
	var o outage
	for {
		l, err := c.connectOnce(ctx)
		if ctx.Err() != nil {
			if l != nil {
				c.leave(l)
			}
			return
		}
		if err == nil {
			c.counts.connects.Add(1)
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
			c.log.Warn("connection to the broker lost: connecting again", "err", err)
			o.since, o.known = time.Now(), true
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

// outage folds the attempts of one outage into a line at its start and one at its end.
type outage struct {
	failures int
	attempts int
	since    time.Time
	known    bool   // it has been logged
	reason   string // the last that was logged
	lines    int
}

// maxReasons bounds the lines of an outage whose reason changes.
const maxReasons = 4

func (o *outage) failed(log *slog.Logger, err error) {
	o.attempts++
	if !o.known {
		o.since = time.Now()
	}
	reason := explain(err)
	if o.known && (reason == o.reason || o.lines >= maxReasons) {
		log.Debug("connect to broker", "err", err)
		return
	}
	o.known, o.reason, o.lines = true, reason, o.lines+1
	log.Warn("the broker can't be reached: trying on", "err", err, "hint", reason)
}

func (o *outage) over(log *slog.Logger) {
	if o.known {
		log.Info("connected to the broker again", "away", time.Since(o.since).Round(time.Millisecond),
			"failed_attempts", o.attempts)
	} else {
		log.Info("connected to the broker")
	}
	*o = outage{failures: o.failures}
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
