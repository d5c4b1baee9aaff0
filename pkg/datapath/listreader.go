package datapath

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Lists returns the entries that act now, as XDP sees them, with what is known of each, by address. Hidden ones, as a block
// below an exemption of the same prefix, are left out.
func (r *Reader) Lists() (_ []ListEntry, counts ListCounts, err error) {
	m, err := openListMaps(r.place, readOnly)
	if err != nil {
		return nil, counts, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	now := monotonicNow()
	control, err := m.readControl()
	if err != nil {
		return nil, counts, err
	}
	noted, _, err := m.entries(now)
	if err != nil {
		return nil, counts, err
	}
	counts.Ceiling = uint64(control.Ceiling)
	if control.HeldUntilNs > now {
		counts.Held = time.Duration(control.HeldUntilNs - now)
	}
	var all []ListEntry
	for _, ipv6 := range []bool{false, true} {
		base, rows, err := m.read(ipv6)
		if err != nil {
			return nil, counts, err
		}
		for _, row := range rows {
			e := ListEntry{Prefix: row.prefix, Kind: row.kind, Origin: "configuration"}
			if row.end != listHeld {
				end := (base + uint64(row.end)) << listClockShift
				if end <= now {
					continue
				}
				e.TTL, e.Origin = time.Duration(end-now), ""
				if known, ok := noted[listKeyOf(e)]; ok {
					e = known
				}
			} else if counts.Held == 0 {
				continue
			}
			*counts.of(e.Kind)++
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b ListEntry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
	})
	return all, counts, nil
}

func (c *ListCounts) of(kind ListKind) *int {
	switch kind {
	case ListBlock:
		return &c.Block
	case ListAllow:
		return &c.Allow
	}
	return &c.Exempt
}

// read returns what a family's table holds.
func (m *listMaps) read(ipv6 bool) (base uint64, _ []listRow, err error) {
	table, err := m.table(ipv6)
	if err != nil || table == nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	memory, err := table.Memory()
	if err != nil {
		return 0, nil, fmt.Errorf("read a list: %w", err)
	}
	b := make([]byte, int(table.MaxEntries())*listLineBytes)
	if _, err := memory.ReadAt(b, 0); err != nil {
		return 0, nil, fmt.Errorf("read a list: %w", err)
	}
	words := make([]uint64, len(b)/8)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	base, rows := rowsOf(words, ipv6)
	return base, rows, nil
}

// table returns a family's, or nil. It may be exchanged and gone at any time.
func (m *listMaps) table(ipv6 bool) (*ebpf.Map, error) {
	family := uint32(0)
	if ipv6 {
		family = 1
	}
	const tries = 5
	var err error
	for range tries {
		var id ebpf.MapID
		for _, tables := range []*ebpf.Map{m.long, m.tables, m.long} { // it may move meanwhile, either way
			if err = tables.Lookup(family, &id); !errors.Is(err, ebpf.ErrKeyNotExist) {
				break
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, nil
		}
		if err != nil {
			break
		}
		var table *ebpf.Map
		if table, err = ebpf.NewMapFromID(id); err == nil {
			return table, nil
		}
	}
	return nil, fmt.Errorf("open a list: %w", err)
}
