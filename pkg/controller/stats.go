package controller

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Stats are what a controller knows now.
type Stats struct {
	On       bool // rate limiting, as was seen last
	Until    time.Time
	Renewals uint64 // of leases
	Unread   error  // why the datapath can't be read; nil if it can
	Commands map[Result]uint64
}

// Result is a command and what came of it.
type Result struct {
	Command string // one of wire.Commands, or Unknown
	Status  string // wire.Success, wire.Failure or Waiting
}

const (
	// Unknown stands for all commands that aren't known: there must not be as many numbers as somebody invents names.
	Unknown = "unknown"
	// Waiting is for a second person.
	Waiting = "waiting"
)

// ErrBusy is that the controller doesn't answer: it may be at a command, which takes milliseconds.
var ErrBusy = errors.New("the controller doesn't answer")

// Stats may be called from any goroutine while Run runs. It returns ErrBusy when ctx ends before there is an answer.
func (c *Controller) Stats(ctx context.Context) (Stats, error) {
	reply := make(chan Stats, 1)
	select {
	case c.asked <- reply:
		return <-reply, nil
	case <-ctx.Done():
		return Stats{}, ErrBusy
	}
}

// readFor is how long it stays true that the datapath could be read: whoever asks more often gets the same answer.
const readFor = time.Second

func (c *Controller) now(now time.Time) Stats {
	if since := now.Sub(c.read); since < 0 || since > readFor {
		_, c.stats.Unread = c.limiter.State()
		c.read = now
	}
	s := c.stats
	s.On, s.Until = c.lease.On, c.lease.End
	s.Commands = maps.Clone(s.Commands)
	return s
}

// count takes the status of a command. What the controller says by itself is none.
func (s *Stats) count(status wire.Status) {
	if status.Origin == ownOrigin && status.Status == wire.Success {
		return
	}
	r := Result{Command: status.Command, Status: status.Status}
	if !slices.Contains(wire.Commands, r.Command) {
		r.Command = Unknown
	}
	if status.ApprovalUntil > 0 {
		r.Status = Waiting
	}
	s.Commands[r]++
}
