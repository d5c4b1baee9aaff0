// Package policer limits SYNs by tc's police actions, where XDP can't or shouldn't. All SYNs of an interface share one rate; sources
// that are named as offenders are held to one of their own before that.
//
// What it is, and until when, is kept in the kernel alone: a process that starts finds what another has left.
package policer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/tc"
)

// Options of a Policer.
type Options struct {
	Interface string         // in the network namespace of the calling thread
	Total     datapath.Limit // of all SYNs together
	// Management are ports that the total leaves out, 8 at most.
	Management []uint16
	Run        string // directory for the lock
	Log        *slog.Logger

	u32, bytes bool // for tests: as on kernels without flower, or without packet rates
}

// DefaultRun is where the lock is.
const DefaultRun = "/run/weir"

// Policer limits one interface's SYNs. It may be used by several goroutines.
type Policer struct {
	opts    Options
	ifindex int
	base    uint32
	tc      tc.Open
	mu      sync.Mutex // over those below, and opts
	counted counted
	changes tc.Watch
	blank   bool                       // there was nothing to be counted before them
	seen    map[netip.Prefix]time.Time // offenders, by when they were named last
}

// New returns the policer of an interface. It changes nothing yet.
func New(o Options) (*Policer, error) {
	if err := o.Total.Validate(); err != nil {
		return nil, fmt.Errorf("all sources together: %w", err)
	}
	i, err := datapath.FindInterface(o.Interface)
	if err != nil {
		return nil, err
	}
	if o.Run == "" {
		o.Run = DefaultRun
	}
	return &Policer{opts: o, ifindex: i.Index, base: indexes(i.Index), seen: map[netip.Prefix]time.Time{}}, nil
}

// Enable holds offenders to limit and all SYNs together to the total, for as long as the lease.
func (p *Policer) Enable(limit datapath.Limit, lease time.Duration) error {
	if err := limit.Validate(); err != nil {
		return err
	}
	return p.locked(func() error {
		k, err := p.read()
		if err != nil {
			return err
		}
		k.state.limit, k.state.until = limit, now()+lease
		if k.was.limit == limit && k.total.Rate == p.opts.Total.Rate && k.installed {
			return tc.SetPolice(p.stateAction(k.state)) // a renewal: the buckets stay as they are
		}
		err = p.install(&k)
		if err == nil {
			err = p.set(k)
		}
		if err != nil && k.was.limit == (datapath.Limit{}) && !k.was.counting {
			err = errors.Join(err, p.uninstall(k))
		}
		return err
	})
}

// Disable lets all SYNs through. It is no error if they were let through before.
func (p *Policer) Disable() error {
	return p.locked(func() error {
		k, err := p.read()
		if err != nil || !k.state.known {
			return err
		}
		return p.disable(k)
	})
}

func (p *Policer) disable(k kernel) error {
	k.state.limit, k.state.until = datapath.Limit{}, 0
	if err := p.set(k); err != nil {
		return err
	}
	if k.state.counting {
		return p.release(&k, func(netip.Prefix) bool { return true })
	}
	return p.uninstall(k)
}

// Expire ends what should have ended by now. Whoever may calls it: the process that began it may have died.
func (p *Policer) Expire() (ended bool, err error) {
	s, err := p.State()
	if err != nil || s.Limit == (datapath.Limit{}) || s.Lease > 0 {
		return false, err
	}
	err = p.locked(func() error {
		k, err := p.read()
		if err != nil || k.state.limit == (datapath.Limit{}) || k.state.until > now() {
			return err
		}
		ended = true
		return p.disable(k)
	})
	return ended, err
}

// Count has tc count SYNs while they aren't limited, too, for want of anything else that could.
func (p *Policer) Count() error {
	return p.locked(func() error {
		k, err := p.read()
		if err != nil {
			return err
		}
		k.state.counting = true
		err = p.install(&k)
		if err == nil {
			err = p.set(k)
		}
		if err != nil && k.was.limit == (datapath.Limit{}) && !k.was.counting {
			err = errors.Join(err, p.uninstall(k))
		}
		return err
	})
}

// Remove takes away all that is weir's. found tells whether there was anything.
func (p *Policer) Remove() (found bool, err error) {
	err = p.locked(func() error {
		k, err := p.read()
		if err != nil {
			return err
		}
		found = k.state.known || k.installed || len(k.filters) > 0
		if !found {
			return nil
		}
		k.state.limit, k.state.counting = datapath.Limit{}, false
		if err := p.set(k); err != nil {
			return err
		}
		errs := []error{p.uninstall(k)}
		for slot := range uint32(slots) {
			errs = append(errs, tc.RemovePolice(p.base+slot))
		}
		// The state goes last: with it, what an interrupted removal left would be forgotten.
		return errors.Join(append(errs, tc.RemovePolice(p.base+probeSlot), tc.RemovePolice(p.base+stateSlot))...)
	})
	return found, err
}

// State is what the policer does now.
type State struct {
	Known    bool           // it has ever done something here
	Limit    datapath.Limit // of each offender; the zero value for none
	Lease    time.Duration  // left; it isn't ended by the kernel, see Expire
	Counting bool
	Bytes    bool // by byte rates, since the kernel has none of packets
}

// State reads it from the kernel.
func (p *Policer) State() (State, error) {
	a, ok, err := p.tc.GetPolice(p.base + stateSlot)
	if err != nil || !ok {
		return State{}, err
	}
	s := decodeState(a)
	if !s.known {
		return State{}, errForeign(a.Index)
	}
	return State{Known: true, Limit: s.limit, Lease: max(s.until-now(), 0), Counting: s.counting, Bytes: s.bytes}, nil
}

// now is the clock of leases, which goes on while the machine sleeps.
func now() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // can't fail
	return time.Duration(t.Nano())
}
