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
	payload, err := wire.Encode(out)
	if err != nil {
		c.warnings.Warn(now, "status left out", "err", err)
		return
	}
	// What became of a list command is nobody's state: the retained status goes on telling of rate limiting.
	c.reports.put(bus.Publication{Topic: topic, Payload: payload, Retain: !wire.IsListCommand(s.Command), Delivery: bus.Confirmed})
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
