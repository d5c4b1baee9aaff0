package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// grow makes n new servers, none of which gets a request before all are well.
func (p *Pool) grow(ctx context.Context, n int) ([]server, error) {
	all, err := p.servers(ctx)
	if err != nil {
		return nil, err
	}
	weight := weightOf(all)
	var fresh []server
	for range n {
		s, err := p.place(ctx, all, weight)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(x server) bool { return x.name == s.name })
		all, fresh = append(all, s), append(fresh, s)
		if err := p.launcher.Start(ctx, s.port); err != nil {
			return nil, fmt.Errorf("start a server on port %d: %w", s.port, err)
		}
	}
	for _, s := range fresh {
		if err := p.health.Await(ctx, s.port); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		if err := p.admit(ctx, s); err != nil {
			return nil, err
		}
	}
	return fresh, p.ready(ctx, fresh)
}

// admit has HAProxy check a server, which gets no requests yet.
func (p *Pool) admit(ctx context.Context, s server) error {
	if err := p.cli.do(ctx, "set server "+p.full(s)+" state drain"); err != nil {
		return err
	}
	err := p.cli.do(ctx, "enable health "+p.full(s))
	if says(err, "not configured") {
		return nil // then the health that was asked before is all there is
	}
	if err != nil {
		return err
	}
	return p.await(ctx, s, "haproxy's check doesn't pass", func(now server) bool { return now.draining() && now.checked() })
}

// ready gives servers their requests.
func (p *Pool) ready(ctx context.Context, all []server) error {
	for _, s := range all {
		if err := p.cli.do(ctx, "set server "+p.full(s)+" state ready"); err != nil {
			return err
		}
	}
	for _, s := range all {
		if err := p.await(ctx, s, "haproxy doesn't call it up", server.up); err != nil {
			return err
		}
	}
	return nil
}

// shrink takes n servers away once their requests have ended.
func (p *Pool) shrink(ctx context.Context, all []server, n int) (string, error) {
	gone, err := p.victims(all, n)
	if err != nil {
		return "", err
	}
	for i, s := range gone {
		if err := p.cli.do(ctx, "set server "+p.full(s)+" state drain"); err != nil {
			return "", err
		}
		gone[i].status = "DRAIN"
	}
	for _, s := range gone {
		if err := p.remove(ctx, s); err != nil {
			return "", err
		}
	}
	return "took away " + names(gone), nil
}

// victims are the servers to take away: those that aren't well first, then those with the highest ports.
func (p *Pool) victims(all []server, n int) ([]server, error) {
	own := slices.DeleteFunc(slices.Clone(all), func(s server) bool { return !p.own(s) || !s.there() })
	if len(own) < n {
		return nil, fmt.Errorf("of haproxy's backend %s %d servers are weir's to take away, by their names (%s…), not %d",
			p.Backend, len(own), p.Prefix, n)
	}
	slices.SortFunc(own, func(a, b server) int {
		switch {
		case a.up() == b.up():
			return cmp.Compare(b.port, a.port)
		case b.up():
			return -1
		}
		return 1
	})
	return own[:n], nil
}

// remove takes one away that gets no new requests.
func (p *Pool) remove(ctx context.Context, s server) error {
	if !s.maint() {
		if err := p.await(ctx, s, "it still has requests", func(now server) bool { return now.busy == 0 }); err != nil {
			return err
		}
		if err := p.cli.do(ctx, "set server "+p.full(s)+" state maint"); err != nil {
			return err
		}
	}
	// The process first: as long as it may run, HAProxy has its port on record.
	if err := p.stop(ctx, s.port); err != nil {
		return err
	}
	if !p.added.MatchString(s.name) {
		return nil
	}
	for {
		err := p.cli.do(ctx, "del server "+p.full(s), "Server deleted.", "No such server.")
		if !says(err, "still has connections") || pause(ctx) != nil { // idle ones, which HAProxy closes
			return err
		}
	}
}

func (p *Pool) stop(ctx context.Context, port int) error {
	if port < p.First || port > p.Last {
		return nil
	}
	if err := p.launcher.Stop(ctx, port); err != nil {
		return fmt.Errorf("stop the server on port %d: %w", port, err)
	}
	return nil
}

// await waits until HAProxy says of a server what is wanted. When ctx ends before, the error says what it said last.
func (p *Pool) await(ctx context.Context, s server, trouble string, ok func(server) bool) error {
	last := ""
	for {
		all, err := p.servers(ctx)
		if err != nil {
			return fmt.Errorf("%w%s", err, last)
		}
		i := slices.IndexFunc(all, func(x server) bool { return x.name == s.name })
		if i < 0 {
			return errors.New(s.name + " is gone: was haproxy reloaded?")
		}
		now := all[i]
		if ok(now) {
			return nil
		}
		last = fmt.Sprintf(": %s: %s (%s %s %s, %d requests)", s.name, trouble, now.status, now.check, now.said, now.busy)
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%w%s", err, last)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(look):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
