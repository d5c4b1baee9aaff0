package controller

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// execute does what a command says and answers it. It waits for nobody but the datapath.
func (c *Controller) execute(now time.Time, msg bus.Message) {
	c.out.Printf("Received control command: %s", msg.Describe())
	if msg.Retained {
		c.warnings.Warn(now, "retained command ignored: its age is unknown and nobody waits for an answer. Clear it with an empty retained message",
			"topic", msg.Topic)
		return
	}
	if msg.Oversize > 0 {
		c.refuse(now, wire.Command{}, fmt.Errorf("payload of %d bytes: give %d at most", msg.Oversize, wire.MaxPayload))
		return
	}
	cmd, err := wire.DecodeCommand(msg.Payload)
	if msg.Refused != nil { // whatever its form: who isn't believed learns nothing of that
		c.refuse(now, cmd, fmt.Errorf("refused: %w", msg.Refused))
		return
	}
	cmd.SignedBy = msg.From
	if err == nil && cmd.Command == wire.TestAlert {
		c.pass(now, cmd)
		return
	}
	if err == nil && cmd.Origin == ownOrigin {
		err = fmt.Errorf("origin %q is the controller's own: give another", ownOrigin)
	}
	if err != nil {
		c.refuse(now, cmd, err)
		return
	}
	asked := []wire.Command{cmd}
	if c.approvals.concerns(cmd.Command) || c.approvals.concerns(wire.DisableRateLimiting) && c.weakens(now, cmd) {
		others, until, err := c.approvals.ask(now, cmd, msg.Person)
		switch {
		case err != nil:
			c.refuse(now, cmd, err)
			return
		case others == nil:
			c.await(now, cmd, msg.Person, until)
			return
		}
		asked = append(others, cmd)
	}
	if wire.IsScaleCommand(cmd.Command) {
		c.scale(now, cmd, asked)
		return
	}
	detail, err := c.carryOut(now, cmd)
	for _, a := range asked {
		if err != nil {
			c.refuse(now, a, err)
		} else {
			c.answer(now, a, wire.Success, detail+approvedBy(asked))
		}
	}
}

// carryOut does it, and tells what it did.
func (c *Controller) carryOut(now time.Time, cmd wire.Command) (detail string, err error) {
	switch cmd.Command {
	case wire.EnableRateLimiting:
		c.out.Printf("Enabling rate limiting...")
		return c.enable(now, cmd)
	case wire.DisableRateLimiting:
		c.out.Printf("Disabling rate limiting...")
		return c.disable(now, cmd)
	case wire.BlockSource:
		c.out.Printf("Blocking %s...", cmd.Source)
		return c.list(now, cmd, datapath.ListBlock)
	case wire.UnblockSource:
		c.out.Printf("Unblocking %s...", cmd.Source)
		return c.unlist(now, cmd, datapath.ListBlock)
	case wire.AllowSource:
		c.out.Printf("Allowing %s...", cmd.Source)
		return c.list(now, cmd, datapath.ListAllow)
	case wire.UnallowSource:
		c.out.Printf("Allowing %s no longer...", cmd.Source)
		return c.unlist(now, cmd, datapath.ListAllow)
	}
	return "", fmt.Errorf("unknown command: give %s", strings.Join(wire.Commands, ", "))
}

// terms are what an enable command asks for.
func (c *Controller) terms(cmd wire.Command) (limit datapath.Limit, lease time.Duration, fixed bool) {
	limit, lease, fixed = c.cfg.Limit, c.cfg.Lease, cmd.TTLSeconds > 0
	if cmd.Rate > 0 {
		limit.Rate = cmd.Rate
	}
	if cmd.Burst > 0 {
		limit.Burst = cmd.Burst
	}
	if fixed {
		lease = time.Duration(cmd.TTLSeconds * float64(time.Second))
	}
	return limit, lease, fixed
}

// weakens tells whether an enable command lets more through than the limit in force, or ends it sooner: disabling by another name.
func (c *Controller) weakens(now time.Time, cmd wire.Command) bool {
	if cmd.Command != wire.EnableRateLimiting || !c.lease.On {
		return false
	}
	limit, lease, fixed := c.terms(cmd)
	return limit.Rate > c.lease.Limit.Rate || limit.Burst > c.lease.Limit.Burst || fixed && (!c.lease.Fixed || now.Add(lease).Before(c.lease.End))
}

func (c *Controller) enable(now time.Time, cmd wire.Command) (string, error) {
	limit, lease, fixed := c.terms(cmd)
	if err := limit.Validate(); err != nil {
		return "", err
	}
	if err := c.limiter.Enable(limit, lease); err != nil {
		return "", err
	}
	was := c.lease
	c.settle()
	c.lease.Enabled(now, owner(cmd), limit, lease, fixed)
	c.noteClaim(now)
	if next := c.lease.NextLook(now, c.cfg.RenewEvery); next.Before(c.nextLook) {
		c.nextLook = next // only sooner, or a stream of commands would put it off for ever
	}
	detail := fmt.Sprintf("each source is held to %d SYNs per second, burst %d", limit.Rate, limit.Burst)
	if fixed {
		detail += fmt.Sprintf(", for %v", lease)
	} else {
		detail += fmt.Sprintf(", for %v and while the flood lasts", lease)
	}
	if c.cfg.Describe != nil {
		detail += c.cfg.Describe()
	}
	if was.On {
		detail += "; it was on already"
	}
	if !was.On || was.Limit != limit || was.Owner != c.lease.Owner || was.Fixed != fixed {
		c.log.Info("rate limiting on", "rate", limit.Rate, "burst", limit.Burst, "until", c.lease.End,
			"owner", c.lease.Owner, "id", cmd.ID, "signed_by", cmd.SignedBy, "reason", cmd.Reason)
	}
	return detail, nil
}

func (c *Controller) disable(now time.Time, cmd wire.Command) (string, error) {
	if err := c.limiter.Disable(); err != nil {
		return "", err
	}
	was := c.lease.On
	c.settle()
	c.lease.Disabled()
	c.noteClaim(now)
	detail := "rate limiting is off"
	if was {
		c.log.Info(detail, "origin", owner(cmd), "id", cmd.ID, "signed_by", cmd.SignedBy, "reason", cmd.Reason)
	} else {
		detail += "; it was off already"
	}
	return detail, nil
}

// unnamed owns the limits of commands without an origin, like those typed by hand.
const unnamed = "unnamed"

func owner(cmd wire.Command) string {
	if cmd.Origin == "" {
		return unnamed
	}
	return cmd.Origin
}

func (c *Controller) refuse(now time.Time, cmd wire.Command, err error) {
	args := []any{"command", cmd.Command, "origin", owner(cmd), "err", err}
	if errors.Is(err, datapath.ErrNotAttached) {
		c.warnings.Warn(now, "command not done: there is no datapath", args...)
	} else {
		c.warnings.Warn(now, "command refused", args...)
	}
	c.answer(now, cmd, wire.Failure, err.Error())
}

func (c *Controller) answer(now time.Time, cmd wire.Command, result, detail string) {
	c.reportOf(now, cmd, wire.Status{Command: cmd.Command, Status: result, Detail: detail, ID: cmd.ID, Origin: cmd.Origin, SignedBy: cmd.SignedBy})
}
