package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// listMaps are the pinned maps of the lists.
type listMaps struct {
	tables  *ebpf.Map // by family
	long    *ebpf.Map // by family, those of longList lines; XDP looks here first
	control *ebpf.Map
	noted   *ebpf.Map // what commands and logins have added
}

func openListMaps(p place, opts *ebpf.LoadPinOptions) (_ *listMaps, err error) {
	m := &listMaps{}
	for _, x := range []struct {
		to   **ebpf.Map
		name string
	}{{&m.tables, bpfMapLists}, {&m.long, bpfMapLongLists}, {&m.control, bpfMapListControl}, {&m.noted, bpfMapListEntries}} {
		if *x.to, err = ebpf.LoadPinnedMap(filepath.Join(p.dir(), x.name), opts); err != nil {
			return nil, explainOpen(p.iface, errors.Join(err, m.close()))
		}
	}
	return m, nil
}

func (m *listMaps) close() error {
	return errors.Join(m.tables.Close(), m.long.Close(), m.control.Close(), m.noted.Close()) // nil is fine
}

func (m *listMaps) readControl() (bpfWeirListControl, error) {
	var c bpfWeirListControl
	if err := m.control.Lookup(only, &c); err != nil {
		return c, fmt.Errorf("read the lists' control map: %w", err)
	}
	return c, nil
}

func (m *listMaps) changeControl(f func(*bpfWeirListControl)) error {
	c, err := m.readControl()
	if err != nil {
		return err
	}
	f(&c)
	if err := m.control.Put(only, c); err != nil {
		return fmt.Errorf("write the lists' control map: %w", err)
	}
	return nil
}

// entries returns those that last, and the keys of those that have ended.
func (m *listMaps) entries(now uint64) (map[bpfWeirListKey]ListEntry, []bpfWeirListKey, error) {
	var key bpfWeirListKey
	var raw bpfWeirListEntry
	var ended []bpfWeirListKey
	have := map[bpfWeirListKey]ListEntry{}
	all := m.noted.Iterate()
	for all.Next(&key, &raw) {
		if raw.UntilNs <= now {
			ended = append(ended, key)
			continue
		}
		have[key] = ListEntry{
			Prefix: key.prefix(), Kind: ListKind(raw.Kind), TTL: time.Duration(raw.UntilNs - now),
			Since: time.Unix(int64(raw.Since), 0), Origin: goString(raw.Origin[:]), Reason: goString(raw.Reason[:]),
		}
	}
	if err := all.Err(); err != nil {
		return nil, nil, fmt.Errorf("read the list entries: %w", err)
	}
	return have, ended, nil
}

func (m *listMaps) put(key bpfWeirListKey, e ListEntry) error {
	raw := bpfWeirListEntry{UntilNs: monotonicNow() + uint64(e.TTL), Since: uint64(e.Since.Unix()), Kind: uint32(e.Kind)}
	cString(raw.Origin[:], cutText(e.Origin, len(raw.Origin)-1))
	cString(raw.Reason[:], cutText(e.Reason, len(raw.Reason)-1))
	if err := m.noted.Put(key, raw); err != nil {
		return fmt.Errorf("note the list entry %v: %w", e.Prefix, err)
	}
	return nil
}

func (m *listMaps) forget(keys []bpfWeirListKey) error {
	for _, key := range keys {
		if err := m.noted.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget the list entry %v: %w", key.prefix(), err)
		}
	}
	return nil
}

// install makes a table and exchanges a family's by it: packets see one or the other, since to put a table in its place waits for those
// on their way. Without rows there is none.
func (m *listMaps) install(rows []listRow, ipv6 bool, base uint64) error {
	family := uint32(0)
	if ipv6 {
		family = 1
	}
	near := nearTo(rows, ipv6)
	if len(rows) == 0 {
		if err := errors.Join(removeTable(m.long, family), removeTable(m.tables, family)); err != nil {
			return err
		}
		return m.changeControl(func(c *bpfWeirListControl) { c.Near[family] = near })
	}
	words, err := buildTable(rows, ipv6, base, newSeed)
	if err != nil {
		return err
	}
	table, err := newListMap(words)
	if err != nil {
		return err
	}
	defer func() { _ = table.Close() }() // the outer map holds it
	// What is in either table is looked up while they are exchanged.
	err = m.changeControl(func(c *bpfWeirListControl) {
		c.Near[family][0] |= near[0]
		c.Near[family][1] |= near[1]
	})
	if err != nil {
		return err
	}
	to, from := m.tables, m.long
	if isLong(words) {
		to, from = from, to
	}
	if err := to.Put(family, table); err != nil {
		return fmt.Errorf("exchange a list: %w", err)
	}
	if err := removeTable(from, family); err != nil {
		return err
	}
	return m.changeControl(func(c *bpfWeirListControl) { c.Near[family] = near })
}

func removeTable(from *ebpf.Map, family uint32) error {
	if err := from.Delete(family); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("take a list away: %w", err)
	}
	return nil
}

// isLong tells whether a table is one of those that all have longList lines. A quarter of that is the least that is worth the room.
func isLong(words []uint64) bool {
	lines := len(words) / listLineWords
	return lines > longList/4 && lines <= longList
}

func newListMap(words []uint64) (_ *ebpf.Map, err error) {
	spec := &ebpf.MapSpec{
		Name: "list_table", Type: ebpf.Array, KeySize: 4, ValueSize: listLineBytes,
		MaxEntries: uint32(len(words) / listLineWords), Flags: unix.BPF_F_MMAPABLE | unix.BPF_F_INNER_MAP,
	}
	if isLong(words) {
		spec.MaxEntries, spec.Flags = longList, unix.BPF_F_MMAPABLE
	}
	table, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("make a list of %d KiB: %w", spec.MaxEntries*listLineBytes/1024, err)
	}
	memory, err := table.Memory()
	if err == nil {
		b := make([]byte, 8*len(words))
		for i, w := range words {
			binary.NativeEndian.PutUint64(b[8*i:], w)
		}
		_, err = memory.WriteAt(b, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fill a list: %w", err), table.Close())
	}
	return table, nil
}

func listKeyOf(e ListEntry) bpfWeirListKey {
	key := bpfWeirListKey{Length: uint8(e.Prefix.Bits())}
	copy(key.Address[:], e.Prefix.Addr().AsSlice())
	if e.Prefix.Addr().Is6() {
		key.Ipv6 = 1
	}
	if e.Kind == ListExempt {
		key.Exempt = 1
	}
	return key
}

func (k bpfWeirListKey) prefix() netip.Prefix {
	a := netip.AddrFrom4([4]byte(k.Address[:4]))
	if k.Ipv6 != 0 {
		a = netip.AddrFrom16(k.Address)
	}
	return netip.PrefixFrom(a, int(k.Length))
}

// cutText cuts a text to so many bytes, not through a character.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
