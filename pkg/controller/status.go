package controller

import (
	"time"

	"github.com/weir-sensor/weir/pkg/audit"
	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// report tells of what no command has changed.
func (c *Controller) report(now time.Time, s wire.Status) { c.reportOf(now, wire.Command{}, s) }

// reportOf adds the state of rate limiting to what became of a command and hands it to the reporter. Until the datapath was seen no state
// is claimed.
func (c *Controller) reportOf(now time.Time, cmd wire.Command, s wire.Status) {
	s.Timestamp, s.Transport = wire.Timestamp(now), c.cfg.Transport
	if c.cfg.Warning != nil {
		s.Warning = c.cfg.Warning()
	}
	c.audit.Note(now, audit.Event{
		Kind: kindOf(s), Command: s.Command, Source: cmd.Source, Servers: cmd.Servers(), ID: s.ID, Origin: s.Origin, SignedBy: s.SignedBy, Server: c.cfg.Root.String(), Result: s.Status, Detail: s.Detail,
	})
	c.stats.count(s)
	out := s
	switch {
	case c.lease.On:
		out.State, out.Rate, out.Burst = wire.StateOn, c.lease.Limit.Rate, c.lease.Limit.Burst
		out.Until = wire.Timestamp(c.lease.End)
		out.Owner, out.FixedEnd = c.lease.Owner, c.lease.Fixed
	case c.known:
		out.State = wire.StateOff
	}
	topic := c.cfg.Root.StatusRateLimiting()
	if wire.IsScaleCommand(s.Command) {
		topic = c.cfg.Root.StatusScaling()
		out = s // the limit is another matter
		out.Servers = c.servers
	}
	// What became of a list command is nobody's state: the retained status goes on telling of rate limiting.
	retain := !wire.IsListCommand(s.Command)
	if retain {
		c.told[topic] = out
	}
	c.put(now, topic, out, retain)
}

func (c *Controller) put(now time.Time, topic string, s wire.Status, retain bool) {
	payload, err := wire.Encode(s)
	if err != nil {
		c.warnings.Warn(now, "status left out", "err", err)
		return
	}
	c.reports.put(bus.Publication{Topic: topic, Payload: payload, Retain: retain, Delivery: bus.Confirmed})
}

// tellAgain is for a broker that was away: what it retained may be gone, and a monitor that was away with it doesn't know whose limit is on.
func (c *Controller) tellAgain(now time.Time) {
	for topic, s := range c.told {
		s.Timestamp, s.Again = wire.Timestamp(now), true
		if s.Until > 0 && c.lease.On {
			s.Until = wire.Timestamp(c.lease.End)
		}
		c.put(now, topic, s, true)
	}
}

// pass notes a command that is the monitor's to carry out and to answer.
func (c *Controller) pass(now time.Time, cmd wire.Command) {
	c.audit.Note(now, audit.Event{
		Kind: "command", Command: cmd.Command, ID: cmd.ID, Origin: cmd.Origin, SignedBy: cmd.SignedBy, Server: c.cfg.Root.String(),
		Detail: "the monitor answers it",
	})
}

// kindOf is for the audit log.
func kindOf(s wire.Status) string {
	switch {
	case s.Origin == ownOrigin:
		return "change" // not by a command
	case s.Status == wire.Success:
		return "command"
	case s.ApprovalUntil > 0:
		return "waiting"
	}
	return "refused"
}
