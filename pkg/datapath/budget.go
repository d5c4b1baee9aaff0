package datapath

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// Budget is what the packets of a class may amount to. A zero Limit is none.
type Budget struct {
	Source Limit // of each IPv4 address or IPv6 /64
	Prefix Limit // of each IPv4 /24 or IPv6 /48
	Total  Limit // of all together
}

// Budgets are those of all classes. They act as Enable does: only while the mode is enforce and the lease lasts; else what
// they would drop is counted. The zero value has none.
type Budgets struct {
	// Classes by class. What a source may send of SYNs is not here but in the Limit; SYN-ACKs count as ClassTCP, and
	// ClassOther is never limited.
	Classes [NumClasses]Budget

	// Connections are how many a source may have open on this host's listeners; 0 for any number.
	Connections uint32

	// ManagementPorts are the TCP ports by which administrators come, MaxManagementPorts at most: what comes there may be
	// challenged, and is never dropped.
	ManagementPorts []uint16
}

// DefaultManagementPorts is SSH's.
var DefaultManagementPorts = []uint16{22}

// MaxManagementPorts is WEIR_MANAGEMENT_PORTS.
const MaxManagementPorts = 8

// The bounds of a total. Its bucket counts in nanoseconds.
const (
	MaxTotalRate  = 10_000_000
	MaxTotalBurst = 100_000_000
)

// clockTicks a second are the fewest that the datapath's clock makes (HZ=100): what comes between two must be within the
// burst.
const clockTicks = 100

// Validate names every budget that is wrong, one line each.
func (b Budgets) Validate() error {
	var errs []error
	for class, budget := range b.Classes {
		c := Class(class)
		for _, x := range []struct {
			limit       Limit
			name        string
			rate, burst uint64
			unlimitable bool
		}{
			{budget.Source, "each source", MaxRate, MaxBurst, c == ClassSYN},
			{budget.Prefix, "each prefix", MaxRate, MaxBurst, false},
			{budget.Total, "all", MaxTotalRate, MaxTotalBurst, false},
		} {
			if x.limit == (Limit{}) {
				continue
			}
			if x.unlimitable || c == ClassSYNACK || c == ClassOther {
				errs = append(errs, fmt.Errorf("the %v packets of %s have no budget of their own", c, x.name))
			} else if err := x.limit.within(x.rate, x.burst); err != nil {
				errs = append(errs, fmt.Errorf("budget of the %v packets of %s: %w", c, x.name, err))
			}
		}
	}
	if n := len(b.ManagementPorts); n > MaxManagementPorts {
		errs = append(errs, fmt.Errorf("%d management ports: give %d at most", n, MaxManagementPorts))
	}
	return errors.Join(errs...)
}

// within names what is wrong with a budget.
func (l Limit) within(rate, burst uint64) error {
	switch {
	case l.Rate < 1 || l.Rate > rate:
		return fmt.Errorf("rate %d: give 1 to %d packets per second", l.Rate, rate)
	case l.Burst < 1 || l.Burst > burst:
		return fmt.Errorf("burst %d: give 1 to %d packets", l.Burst, burst)
	case l.Burst < l.Rate/clockTicks:
		return fmt.Errorf("burst %d at rate %d: give %d at least, what comes in 10 ms", l.Burst, l.Rate, l.Rate/clockTicks)
	case time.Duration(l.Burst/l.Rate)*time.Second >= maxDrain:
		return fmt.Errorf("burst %d at rate %d takes over an hour to refill: give a smaller burst or a higher rate", l.Burst, l.Rate)
	}
	return nil
}

// raw is the limit as a bucket sees it whose clock makes so many steps a second.
func (l Limit) raw(steps uint64) bpfWeirRate {
	if l == (Limit{}) {
		return bpfWeirRate{}
	}
	interval := steps / l.Rate
	return bpfWeirRate{Interval: interval, Tolerance: (l.Burst - 1) * interval, Rate: uint32(l.Rate), Burst: uint32(l.Burst)}
}

// capped is WEIR_CAPPED.
const capped = 1 << 15

// raw is what stands in the budgets map.
func (b Budgets) raw() bpfWeirBudgets {
	var raw bpfWeirBudgets
	for class, budget := range b.Classes {
		if budget == (Budget{}) {
			continue
		}
		raw.Classes[class] = bpfWeirBudget{
			Source: budget.Source.raw(ticksPerSecond),
			Prefix: budget.Prefix.raw(ticksPerSecond),
			Total:  budget.Total.raw(uint64(time.Second)),
		}
		raw.Budgeted |= 1 << class
		switch Class(class) {
		case ClassTCP:
			raw.Budgeted |= 1 << ClassSYNACK
		case ClassFragment:
			raw.Budgeted |= 1 << ClassUDP // who asks must be known, to tell fragments of replies from others
		}
	}
	if raw.Connections = b.Connections; raw.Connections > 0 {
		raw.Budgeted |= capped
	}
	raw.NumManagement = uint32(len(b.ManagementPorts))
	for i := range raw.Management {
		if n := len(b.ManagementPorts); n > 0 {
			raw.Management[i] = networkOrder(b.ManagementPorts[min(i, n-1)])
		}
	}
	return raw
}

func (raw bpfWeirBudgets) decode() Budgets {
	var b Budgets
	limit := func(r bpfWeirRate) Limit { return Limit{Rate: uint64(r.Rate), Burst: uint64(r.Burst)} }
	for class, x := range raw.Classes {
		b.Classes[class] = Budget{Source: limit(x.Source), Prefix: limit(x.Prefix), Total: limit(x.Total)}
	}
	b.Connections = raw.Connections
	for _, port := range raw.Management[:min(raw.NumManagement, MaxManagementPorts)] {
		b.ManagementPorts = append(b.ManagementPorts, networkOrder(port))
	}
	return b
}

// networkOrder swaps a port's bytes: the datapath compares it as it stands in packets. It is its own inverse.
func networkOrder(port uint16) uint16 { return port>>8 | port<<8 }

func writeBudgets(m *ebpf.Map, b Budgets) error {
	raw := b.raw()
	if tracking() {
		raw.Tracking = 1
	}
	if err := m.Put(only, raw); err != nil {
		return fmt.Errorf("write the budgets map: %w", err)
	}
	return nil
}

// noteTracking renews what writeBudgets has found out of that: a challenge must spare the connections that netfilter redirects.
func noteTracking(m *ebpf.Map) error {
	var raw bpfWeirBudgets
	if err := m.Lookup(only, &raw); err != nil {
		return fmt.Errorf("read the budgets map: %w", err)
	}
	was := raw.Tracking
	if raw.Tracking = 0; tracking() {
		raw.Tracking = 1
	}
	if raw.Tracking == was {
		return nil
	}
	if err := m.Put(only, raw); err != nil {
		return fmt.Errorf("write the budgets map: %w", err)
	}
	return nil
}

// tracking tells whether netfilter tracks connections in the calling thread's network namespace.
func tracking() bool {
	n, err := readSysctl("/proc/sys/net/netfilter/nf_conntrack_count")
	return err == nil && n > 0
}

func readBudgets(m *ebpf.Map) (Budgets, error) {
	var raw bpfWeirBudgets
	if err := m.Lookup(only, &raw); err != nil {
		return Budgets{}, fmt.Errorf("read the budgets map: %w", err)
	}
	return raw.decode(), nil
}

// Budgets replaces the budgets in force. It wraps ErrNotAttached when there is no datapath.
func (s *Switch) Budgets(b Budgets) error {
	if err := b.Validate(); err != nil {
		return err
	}
	return s.open(bpfMapBudgets, func(m *ebpf.Map) error { return writeBudgets(m, b) })
}

// Budgets returns those in force.
func (r *Reader) Budgets() (Budgets, error) { return readBudgets(r.budgets) }
