package controller

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

var errNoScaler = errors.New("no scaler is configured")

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
	if err == nil && cmd.Origin == ownOrigin {
		err = fmt.Errorf("origin %q is the controller's own: give another", ownOrigin)
	}
	if err != nil {
		c.refuse(now, cmd, err)
		return
	}
	switch cmd.Command {
	case wire.EnableRateLimiting:
		c.out.Printf("Enabling rate limiting...")
		err = c.enable(now, cmd)
	case wire.DisableRateLimiting:
		c.out.Printf("Disabling rate limiting...")
		err = c.disable(now, cmd)
	case wire.ScaleUpServers:
		c.out.Printf("Scaling up servers...")
		err = errNoScaler
	case wire.ScaleDownServers:
		c.out.Printf("Scaling down servers...")
		err = errNoScaler
	case wire.BlockSource:
		c.out.Printf("Blocking %s...", cmd.Source)
		err = c.list(now, cmd, datapath.ListBlock)
	case wire.UnblockSource:
		c.out.Printf("Unblocking %s...", cmd.Source)
		err = c.unlist(now, cmd, datapath.ListBlock)
	case wire.AllowSource:
		c.out.Printf("Allowing %s...", cmd.Source)
		err = c.list(now, cmd, datapath.ListAllow)
	case wire.UnallowSource:
		c.out.Printf("Allowing %s no longer...", cmd.Source)
		err = c.unlist(now, cmd, datapath.ListAllow)
	default:
		err = fmt.Errorf("unknown command: give %s, %s, %s, %s, %s, %s, %s or %s", wire.EnableRateLimiting, wire.DisableRateLimiting,
			wire.BlockSource, wire.UnblockSource, wire.AllowSource, wire.UnallowSource, wire.ScaleUpServers, wire.ScaleDownServers)
	}
	if err != nil {
		c.refuse(now, cmd, err)
	}
}

func (c *Controller) enable(now time.Time, cmd wire.Command) error {
	limit := c.cfg.Limit
	if cmd.Rate > 0 {
		limit.Rate = cmd.Rate
	}
	if cmd.Burst > 0 {
		limit.Burst = cmd.Burst
	}
	if err := limit.Validate(); err != nil {
		return err
	}
	lease, fixed := c.cfg.Lease, cmd.TTLSeconds > 0
	if fixed {
		lease = time.Duration(cmd.TTLSeconds * float64(time.Second))
	}
	if err := c.limiter.Enable(limit, lease); err != nil {
		return err
	}
	was := c.lease
	c.settle()
	c.lease.Enabled(now, owner(cmd), limit, lease, fixed)
	if next := c.lease.NextLook(now, c.cfg.RenewEvery); next.Before(c.nextLook) {
		c.nextLook = next // only sooner, or a stream of commands would put it off for ever
	}
	detail := fmt.Sprintf("each source is held to %d SYNs per second, burst %d", limit.Rate, limit.Burst)
	if fixed {
		detail += fmt.Sprintf(", for %v", lease)
	} else {
		detail += fmt.Sprintf(", for %v and while the flood lasts", lease)
	}
	if was.On {
		detail += "; it was on already"
	}
	if !was.On || was.Limit != limit || was.Owner != c.lease.Owner || was.Fixed != fixed {
		c.log.Info("rate limiting on", "rate", limit.Rate, "burst", limit.Burst, "until", c.lease.End,
			"owner", c.lease.Owner, "id", cmd.ID, "signed_by", cmd.SignedBy, "reason", cmd.Reason)
	}
	c.answer(now, cmd, wire.Success, detail)
	return nil
}

func (c *Controller) disable(now time.Time, cmd wire.Command) error {
	if err := c.limiter.Disable(); err != nil {
		return err
	}
	was := c.lease.On
	c.settle()
	c.lease.Disabled()
	detail := "rate limiting is off"
	if was {
		c.log.Info(detail, "origin", owner(cmd), "id", cmd.ID, "signed_by", cmd.SignedBy, "reason", cmd.Reason)
	} else {
		detail += "; it was off already"
	}
	c.answer(now, cmd, wire.Success, detail)
	return nil
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
	c.report(now, wire.Status{Command: cmd.Command, Status: result, Detail: detail, ID: cmd.ID, Origin: cmd.Origin, SignedBy: cmd.SignedBy})
}
