package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// ListKeeper changes the lists of an interface. What commands and logins add is pinned and survives every process; entries
// of the configuration are the keeper's to give again, and act only as long as somebody holds them. It opens the pins anew
// each time: the datapath may be unloaded and made again under it. Its methods may be called from several goroutines.
type ListKeeper struct {
	bpffs, iface string

	mu       sync.Mutex
	settings ListSettings
	written  bool // the tables hold these settings, unless they were made anew
}

// NewListKeeper returns the keeper of an interface in the network namespace of the calling thread. Nothing is opened yet.
func NewListKeeper(bpffs, iface string, s ListSettings) (*ListKeeper, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &ListKeeper{bpffs: bpffs, iface: iface, settings: s}, nil
}

// Configure exchanges the entries of the configuration; the next Hold puts them in force.
func (k *ListKeeper) Configure(s ListSettings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settings, k.written = s, false
	return nil
}

// Hold keeps the entries of the configuration in force for a while more, puts them there if they aren't, and clears away
// what has ended. It wraps ErrNotAttached when there is no datapath.
func (k *ListKeeper) Hold(lease time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open(func(m *listMaps) error {
		control, err := m.readControl()
		if err != nil {
			return err
		}
		entries, ended, err := m.entries(monotonicNow())
		if err != nil {
			return err
		}
		if err := m.forget(ended); err != nil {
			return err
		}
		if !k.written || len(ended) > 0 || control.HeldUntilNs == 0 {
			k.written = false
			if err := errors.Join(k.write(m, entries, false), k.write(m, entries, true)); err != nil {
				return err
			}
			k.written = true
		}
		return m.changeControl(func(c *bpfWeirListControl) {
			c.HeldUntilNs = monotonicNow() + uint64(lease)
			c.Ceiling = uint32(k.settings.Ceiling)
			c.Interval = ticksPerSecond / k.settings.Ceiling
			c.Tolerance = ticksPerSecond / 10
		})
	})
}

// Put adds entries, or replaces those of the same prefix, for their TTL: all or, if the lists don't take them, none. It wraps
// ErrTooMany.
func (k *ListKeeper) Put(entries ...ListEntry) error {
	for _, e := range entries {
		if err := e.validate(); err != nil {
			return err
		}
	}
	return k.change(func(m *listMaps, have map[bpfWeirListKey]ListEntry) error {
		room := map[bool]int{true: MaxExempt, false: MaxCommanded} // apart, so that neither uses up the other's
		for key := range have {
			room[key.Exempt != 0]--
		}
		for _, e := range entries {
			key := listKeyOf(e)
			if _, there := have[key]; !there {
				exempt := e.Kind == ListExempt
				if room[exempt] == 0 {
					return fmt.Errorf("%w: wait for some to end, or take some back", ErrTooMany)
				}
				room[exempt]--
			}
			have[key] = e
		}
		if err := k.settings.checkLengths(have); err != nil { // once noted it would spoil every table made from now on
			return err
		}
		for _, e := range entries {
			if err := m.put(listKeyOf(e), e); err != nil {
				return err
			}
		}
		return nil
	}, entries...)
}

// Remove takes back what a command has put there, and reports whether there was anything. Entries of the configuration
// stay.
func (k *ListKeeper) Remove(p netip.Prefix, kind ListKind) (found bool, err error) {
	e := ListEntry{Prefix: p, Kind: kind}
	err = k.change(func(m *listMaps, have map[bpfWeirListKey]ListEntry) error {
		key := listKeyOf(e)
		if was, there := have[key]; !there || was.Kind != kind {
			return nil
		}
		found = true
		delete(have, key)
		return m.forget([]bpfWeirListKey{key})
	}, e)
	return found, err
}

// Entries are those of commands and logins that last.
func (k *ListKeeper) Entries() ([]ListEntry, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []ListEntry
	err := k.open(func(m *listMaps) error {
		have, _, err := m.entries(monotonicNow())
		for _, e := range have {
			all = append(all, e)
		}
		return err
	})
	return all, err
}

// change notes a change of entries and puts it in force, in the families concerned.
func (k *ListKeeper) change(f func(*listMaps, map[bpfWeirListKey]ListEntry) error, concerned ...ListEntry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open(func(m *listMaps) (err error) {
		defer func() {
			if err != nil {
				k.written = false // what was forgotten may still hide others
			}
		}()
		have, ended, err := m.entries(monotonicNow())
		if err != nil {
			return err
		}
		if err := m.forget(ended); err != nil {
			return err
		}
		if err := f(m, have); err != nil {
			return err
		}
		var ipv4, ipv6 bool
		for _, e := range concerned {
			ipv6 = ipv6 || e.Prefix.Addr().Is6()
			ipv4 = ipv4 || e.Prefix.Addr().Is4()
		}
		for _, key := range ended { // they may have hidden others
			ipv6 = ipv6 || key.Ipv6 != 0
			ipv4 = ipv4 || key.Ipv6 == 0
		}
		if ipv4 {
			err = k.write(m, have, false)
		}
		if ipv6 {
			err = errors.Join(err, k.write(m, have, true))
		}
		return err
	})
}

// write makes the table of a family and puts it in the place of the one that is there.
func (k *ListKeeper) write(m *listMaps, entries map[bpfWeirListKey]ListEntry, ipv6 bool) error {
	now := monotonicNow()
	base := now >> listClockShift
	exempt, commanded := map[netip.Prefix]listRow{}, map[netip.Prefix]listRow{}
	for key, e := range entries {
		if e.Prefix.Addr().Is6() != ipv6 {
			continue
		}
		end := (now+uint64(e.TTL)-base<<listClockShift)>>listClockShift + 1
		to := commanded
		if key.Exempt != 0 {
			to = exempt
		}
		to[e.Prefix] = listRow{e.Prefix, e.Kind, uint32(min(end, listHeld-1))}
	}
	others := make(map[netip.Prefix]bool, len(exempt)+len(commanded))
	var rows []listRow
	for _, from := range []map[netip.Prefix]listRow{exempt, commanded} {
		for p, r := range from {
			if !others[p] {
				others[p] = true
				rows = append(rows, r)
			}
		}
	}
	rows = append(rows, k.settings.rows(ipv6, others)...)
	return m.install(rows, ipv6, base)
}

// open lends the maps and keeps others from changing them.
func (k *ListKeeper) open(f func(*listMaps) error) error {
	return whileLive(k.bpffs, k.iface, func(p place) (err error) {
		m, err := openListMaps(p, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.close()) }()
		return f(m)
	})
}
