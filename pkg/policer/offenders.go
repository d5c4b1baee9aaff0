package policer

import (
	"errors"
	"net/netip"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/tc"
)

// holdFor is how long an offender is held after it was named last.
const holdFor = time.Minute

// Hold names the sources that are over the limit now, IPv4 addresses and IPv6 /64. While SYNs are limited each is held to the limit
// until a minute after it was named last, MaxOffenders at most; all others share what they share.
func (p *Policer) Hold(at time.Time, over []netip.Prefix) error {
	for _, s := range over {
		if _, known := p.seen[s]; known || len(p.seen) < MaxOffenders {
			p.seen[s] = at
		}
	}
	return p.locked(func() error {
		k, err := p.read()
		if err != nil || !k.installed || k.state.limit == (datapath.Limit{}) {
			return err
		}
		for s := range k.offenders {
			if _, known := p.seen[s]; !known {
				// One that another process held has its minute from now on.
				p.seen[s] = at
			}
		}
		if err := p.release(&k, func(s netip.Prefix) bool { return at.Sub(p.seen[s]) > holdFor }); err != nil {
			return err
		}
		for s := range p.seen {
			if _, held := k.offenders[s]; !held {
				if at.Sub(p.seen[s]) > holdFor {
					delete(p.seen, s)
					continue
				}
				if err := p.hold(&k, s); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (p *Policer) hold(k *kernel, s netip.Prefix) error {
	used := map[uint32]bool{}
	for _, a := range k.offenders {
		used[a.Index] = true
	}
	for slot := uint32(1); slot < slots; slot++ {
		if used[p.base+slot] {
			continue
		}
		a := p.offenderAction(*k, s, p.base+slot)
		if err := tc.SetPolice(a); err != nil {
			return err
		}
		if err := p.addFilters(k.state.priority, p.kindOf(*k), s, slot); err != nil {
			return errors.Join(err, p.drop(a.Index))
		}
		k.offenders[s] = a
		return nil
	}
	return nil // no room: all together are limited
}

// release lets go of some offenders.
func (p *Policer) release(k *kernel, which func(netip.Prefix) bool) error {
	for s, a := range k.offenders {
		if !which(s) {
			continue
		}
		if err := p.drop(a.Index); err != nil {
			return err
		}
		delete(k.offenders, s)
		delete(p.seen, s)
	}
	return nil
}

// drop removes the filters of an offender's action.
func (p *Policer) drop(index uint32) error {
	all, err := tc.Filters(p.ifindex)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range all {
		if f.Police == index {
			errs = append(errs, tc.RemoveFilter(p.ifindex, f))
		}
	}
	return errors.Join(errs...)
}
