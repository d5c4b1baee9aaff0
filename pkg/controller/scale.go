package controller

import (
	"context"
	"errors"
	"time"

	"github.com/weir-sensor/weir/pkg/scaler"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Scaler adds servers and takes them away. Its methods take minutes, and may be called side by side.
type Scaler interface {
	Scale(context.Context, scaler.Order) scaler.Outcome
	Tend(ctx context.Context, tell func(scaler.Outcome))
}

var errNoScaler = errors.New("no scaler is configured")

// scaleEnd is how long the end waits for what is being scaled to be undone.
const scaleEnd = 4 * time.Second

// scaled is what became of commands that asked for the same, or, with none, what was found.
type scaled struct {
	asked   []wire.Command
	outcome scaler.Outcome
}

// ScaleBy has the controller scale. It is to be called before Run.
func (c *Controller) ScaleBy(s Scaler) { c.scaler = s }

// tendServers begins to, and returns what is to be done at the end.
func (c *Controller) tendServers(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	c.whileScaling = ctx
	if c.scaler != nil {
		c.scaling.Go(func() {
			c.scaler.Tend(ctx, func(o scaler.Outcome) { c.hand(ctx, scaled{outcome: o}) })
		})
	}
	return func() {
		cancel()
		ended := make(chan struct{})
		go func() { c.scaling.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(scaleEnd):
		}
	}
}

func (c *Controller) hand(ctx context.Context, s scaled) {
	select {
	case c.scaled <- s:
	case <-ctx.Done():
	}
}

// scale carries a command out beside all others, which go on meanwhile, as do leases.
func (c *Controller) scale(now time.Time, cmd wire.Command, asked []wire.Command) {
	by := cmd.Servers()
	if cmd.Command == wire.ScaleDownServers {
		by = -by
		c.out.Printf("Scaling down servers...")
	} else {
		c.out.Printf("Scaling up servers...")
	}
	if c.scaler == nil {
		for _, a := range asked {
			c.refuse(now, a, errNoScaler)
		}
		return
	}
	order := scaler.Order{By: by, Sender: sender(cmd)}
	order.Origin = owner(cmd)
	for _, a := range asked {
		if sender(a) != sender(cmd) {
			order.Others = append(order.Others, sender(a))
		}
	}
	ctx := c.whileScaling
	c.scaling.Go(func() { c.hand(ctx, scaled{asked, c.scaler.Scale(ctx, order)}) })
}

func sender(cmd wire.Command) scaler.Sender {
	return scaler.Sender{ID: cmd.ID, Origin: cmd.Origin, SignedBy: cmd.SignedBy}
}

// tellScaled answers.
func (c *Controller) tellScaled(now time.Time, s scaled) {
	o := s.outcome
	c.servers = &o.Servers
	asked := s.asked
	if asked == nil { // by the controller before, or by nobody
		asked = []wire.Command{{Command: wire.ScaleUpServers, Origin: ownOrigin}}
		if o.Order != nil {
			asked = commandsOf(*o.Order)
		}
	}
	for _, a := range asked {
		if o.Err != nil {
			c.refuse(now, a, o.Err)
		} else {
			c.answer(now, a, wire.Success, o.Detail+approvedBy(asked))
		}
	}
}

// commandsOf are those that an order was made of, as far as the scaler has noted them.
func commandsOf(o scaler.Order) (asked []wire.Command) {
	for _, s := range append(o.Others, o.Sender) {
		asked = append(asked, wire.Command{Command: o.Command(), Count: uint64(max(o.By, -o.By)), ID: s.ID, Origin: s.Origin, SignedBy: s.SignedBy})
	}
	return asked
}
