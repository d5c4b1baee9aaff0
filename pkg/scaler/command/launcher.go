package command

import (
	"context"
	"strconv"
)

// Launcher starts and stops servers by programs, which get a server's number in WEIR_INSTANCE.
type Launcher struct{ Starter, Stopper Command }

// Start is done when the program has ended.
func (l Launcher) Start(ctx context.Context, n int) error { return run(ctx, l.Starter, n) }

// Stop is, too.
func (l Launcher) Stop(ctx context.Context, n int) error { return run(ctx, l.Stopper, n) }

func run(ctx context.Context, c Command, n int) error {
	_, err := c.Run(ctx, "WEIR_INSTANCE="+strconv.Itoa(n))
	return err
}
