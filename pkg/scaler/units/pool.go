package units

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-sensor/weir/pkg/scaler"
)

// Health is what an instance must answer.
type Health interface {
	Await(ctx context.Context, n int) error
	Ask(ctx context.Context, n int) error
}

// Pool is a back-end whose servers are instances of a template unit. Whoever sends them their requests finds out by himself that they are
// there, and sends none to one that stops.
type Pool struct {
	Unit        Template
	First, Last int // instances
	Health      Health
}

// Size counts the instances that are active.
func (p Pool) Size(ctx context.Context) (int, error) {
	active, _, err := p.look(ctx)
	return len(active), err
}

// look tells which instances are active, and which neither that nor at rest.
func (p Pool) look(ctx context.Context) (active, odd []int, err error) {
	states, err := p.Unit.states(ctx, p.First, p.Last)
	if err != nil {
		return nil, nil, err
	}
	active, odd = p.sort(states)
	return active, odd, nil
}

func (p Pool) sort(states map[int]string) (active, odd []int) {
	for n := p.First; n <= p.Last; n++ {
		switch states[n] {
		case "active", "reloading", "refreshing": // it serves meanwhile
			active = append(active, n)
		case "inactive", "":
		default:
			odd = append(odd, n)
		}
	}
	return active, odd
}

// Resize stops what is half started or failed, and of the active ones first those that aren't well.
func (p Pool) Resize(ctx context.Context, to int) (string, error) {
	active, odd, err := p.look(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range odd {
		if err := p.Unit.Stop(ctx, n); err != nil {
			return "", err
		}
	}
	switch need := to - len(active); {
	case need > 0:
		return p.grow(ctx, active, need)
	case need < 0:
		return p.shrink(ctx, active, -need)
	}
	if err := p.well(ctx, active); err != nil { // what an ended controller has started may not be
		return "", fmt.Errorf("%w: %w", scaler.ErrUnwell, err)
	}
	return "nothing to change", nil
}

func (p Pool) grow(ctx context.Context, active []int, need int) (string, error) {
	var fresh []int
	for n := p.First; n <= p.Last && len(fresh) < need; n++ {
		if !slices.Contains(active, n) {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) < need {
		return "", fmt.Errorf("only %d of the instances %d to %d are free: see scaling.instances", len(fresh), p.First, p.Last)
	}
	for _, n := range fresh {
		if err := p.Unit.Start(ctx, n); err != nil {
			return "", err
		}
	}
	return "started " + p.names(fresh), p.well(ctx, fresh)
}

func (p Pool) well(ctx context.Context, all []int) error {
	for _, n := range all {
		if err := p.Health.Await(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", p.Unit.unit(n), err)
		}
	}
	return nil
}

func (p Pool) shrink(ctx context.Context, active []int, many int) (string, error) {
	slices.Reverse(active) // the last first
	var ill, well []int
	for _, n := range active {
		if p.Health.Ask(ctx, n) == nil {
			well = append(well, n)
		} else {
			ill = append(ill, n)
		}
	}
	gone := append(ill, well...)[:many]
	for _, n := range gone {
		if err := p.Unit.Stop(ctx, n); err != nil {
			return "", err
		}
	}
	return "stopped " + p.names(gone), nil
}

func (p Pool) names(all []int) string {
	var names []string
	for _, n := range all {
		names = append(names, p.Unit.unit(n))
	}
	return strings.Join(names, ", ")
}
