package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
)

// interfacesOf returns the interfaces to protect, one at least.
func interfacesOf(cfg *config.Config) ([]string, error) {
	names := strings.FieldsFunc(cfg.Interface, func(r rune) bool { return r == ',' || r == ' ' })
	if len(names) == 0 {
		name, err := hoststats.DefaultInterface()
		return []string{name}, err
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("interface %q is named twice: once is enough", name)
		}
	}
	return names, nil
}

// each does something with every interface, and names those where it failed.
func each[T any](names []string, all []T, do func(T) error) error {
	var errs []error
	for i, x := range all {
		if err := do(x); err != nil {
			if len(all) > 1 {
				err = fmt.Errorf("%s: %w", names[i], err)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// datapaths are those of all interfaces, as the sensor sees them: as one. While one is there, those that vanish are told of and
// left out; what they counted stays in the sums.
type datapaths struct {
	log        *slog.Logger
	complaints console.Complaints // of expire
	all        []*attached
}

type attached struct {
	view
	name    string
	tier    string
	adopted bool              // it was there before this start
	counted datapath.Counters // last
	gone    bool
}

// present lists those that are there.
func (d *datapaths) present() []*attached {
	return slices.DeleteFunc(slices.Clone(d.all), func(a *attached) bool { return a.gone })
}

func (d *datapaths) Counters() (datapath.Counters, error) {
	for _, a := range d.present() {
		c, err := a.Counters()
		switch {
		case err == nil:
			a.counted = c
		case errors.Is(err, datapath.ErrDetached) && len(d.present()) > 1:
			a.gone = true
			d.log.Error("one interface less is guarded", "lost", a.name, "err", err)
		default:
			return datapath.Counters{}, err
		}
	}
	var sum datapath.Counters
	for _, a := range d.all {
		sum.Add(&a.counted)
	}
	return sum, nil
}

// Control is the first one's that enforces, or the first's, but for what any of them does now.
func (d *datapaths) Control() (datapath.Control, error) {
	var all datapath.Control
	for i, a := range d.present() {
		c, err := a.Control()
		if err != nil {
			return all, err
		}
		challenging := all.Challenging || c.Challenging
		if i == 0 || c.Enforcing() && !all.Enforcing() {
			all = c
		}
		all.Challenging = challenging
	}
	return all, nil
}

// TopSources counts a source once: interfaces share the table, unless they were attached with different sizes of it.
func (d *datapaths) TopSources(now time.Time, n int) ([]datapath.SourceRate, error) {
	best := map[netip.Prefix]datapath.SourceRate{}
	for _, a := range d.present() {
		top, err := a.TopSources(now, n)
		if err != nil {
			return nil, err
		}
		for _, s := range top {
			if was := best[s.Source]; s.SYNsPerSecond > was.SYNsPerSecond {
				s.Limited = s.Limited || was.Limited
				best[s.Source] = s
			}
		}
	}
	all := slices.Collect(maps.Values(best))
	slices.SortFunc(all, func(a, b datapath.SourceRate) int { return cmp.Compare(b.SYNsPerSecond, a.SYNsPerSecond) })
	return all[:min(len(all), n)], nil
}

// tiers from the best.
var tiers = []string{datapath.TierNative, datapath.TierGeneric, datapath.TierTC, tierPolice, tierNone}

// tier is the worst.
func (d *datapaths) tier() string {
	worst := d.all[0].tier
	for _, a := range d.all {
		if slices.Index(tiers, a.tier) > slices.Index(tiers, worst) {
			worst = a.tier
		}
	}
	return worst
}

// undo takes off what this start has attached.
func (d *datapaths) undo(bpffs string) error {
	var errs []error
	for _, a := range d.all {
		if a.adopted {
			continue
		}
		if a.reader != nil {
			_, err := datapath.Unload(bpffs, a.name)
			errs = append(errs, err)
		} else if a.police != nil {
			_, err := a.police.Remove()
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *datapaths) close() {
	for _, a := range d.all {
		_ = a.Close() // nothing is lost: the datapath is pinned
	}
}

// cards are the interfaces'.
type cards []*hoststats.Card

func newCards(names []string) cards {
	var all cards
	for _, name := range names {
		all = append(all, hoststats.NewCard(name))
	}
	return all
}

func (c cards) Discards() (sum uint64, err error) {
	for _, card := range c {
		n, cardErr := card.Discards()
		sum, err = sum+n, errors.Join(err, cardErr)
	}
	return sum, err
}

// limiters are those of all interfaces, as the controller sees them: as one. Where some fail, the others act all the same, and
// the status says which failed.
type limiters struct {
	names []string
	all   []actuator
}

func (l limiters) Enable(limit datapath.Limit, lease time.Duration) error {
	return each(l.names, l.all, func(x actuator) error { return x.Enable(limit, lease) })
}

func (l limiters) Disable() error {
	return each(l.names, l.all, func(x actuator) error { return x.Disable() })
}

// State is on where one is, for as long as the first of them to end. It is known if one's is: the others' leases must be renewed.
func (l limiters) State() (controller.State, error) {
	var sum controller.State
	known := false
	err := each(l.names, l.all, func(x actuator) error {
		s, err := x.State()
		if err != nil {
			return err
		}
		known = true
		if s.On && (!sum.On || s.Lease < sum.Lease) {
			sum.On, sum.Limit, sum.Lease = true, s.Limit, s.Lease
		}
		sum.Dropped += s.Dropped
		return nil
	})
	if known && err != nil {
		l.all[0].complaints.Warn(time.Now(), "not every interface is guarded", "err", err)
		err = nil
	}
	return sum, err
}

// keepers are the lists of all interfaces.
type keepers struct {
	names []string
	all   []*datapath.ListKeeper
}

func (k keepers) Configure(s datapath.ListSettings) error {
	return each(k.names, k.all, func(x *datapath.ListKeeper) error { return x.Configure(s) })
}

func (k keepers) Hold(lease time.Duration) error {
	return each(k.names, k.all, func(x *datapath.ListKeeper) error { return x.Hold(lease) })
}

func (k keepers) Put(entries ...datapath.ListEntry) error {
	return each(k.names, k.all, func(x *datapath.ListKeeper) error { return x.Put(entries...) })
}

func (k keepers) Remove(p netip.Prefix, kind datapath.ListKind) (found bool, err error) {
	err = each(k.names, k.all, func(x *datapath.ListKeeper) error {
		also, err := x.Remove(p, kind)
		found = found || also
		return err
	})
	return found, err
}
