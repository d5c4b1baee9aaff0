package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// The form of a table; WEIR_LIST_… in bpf/abi_lists.h.
const (
	listClockShift = 26 // 67 ms
	listHeld       = 1<<22 - 1
	listKindShift  = 22
	lengthShift    = 24

	listLineWords = 8
	listLineBytes = 8 * listLineWords
	listLengths   = 1 // the line of IPv6 lengths
	listFilter    = 2
	listChain     = 4
	listWays4     = 8
	listWays6     = 3
	longList      = 32768
)

const (
	// maxLengths that one table tells apart, beside 0.
	maxLengths = 32

	// Of eight and of three ways: the table should stay near the L2 cache, and few entries go to the next line.
	entriesPerLine4 = 5
	entriesPerLine6 = 1

	// Up to that many lengths asking costs no more than the filter.
	unfiltered     = 2
	maxFilterWords = 1 << 16
	// filterSpan is how many words one short prefix may be noted in; what is shorter is always asked for.
	filterSpan = 1 << 16
	filterMult = 0x9e3779b1

	tableTries = 16
)

// listRow is an entry as a table holds it.
type listRow struct {
	prefix netip.Prefix
	kind   ListKind
	end    uint32 // in 67 ms from the table's base, or listHeld
}

func (r listRow) meta() uint32 {
	return uint32(r.prefix.Bits())<<lengthShift | uint32(r.kind)<<listKindShift | r.end
}

var errLengths = fmt.Errorf("more than %d different IPv6 prefix lengths, /128 always among them: use fewer", maxLengths)

// listTable is the content of an inner map of lists.
type listTable struct {
	words   []uint64
	ipv6    bool
	seed    [2]uint64
	filter  uint32 // words
	first   uint32 // line
	lines   uint32
	lengths []uint8 // longest first, without 0
}

// buildTable puts rows of one family, each with another prefix, into a table. base is the time in 67 ms.
func buildTable(rows []listRow, ipv6 bool, base uint64, random func() [2]uint64) ([]uint64, error) {
	t := &listTable{ipv6: ipv6}
	if err := t.findLengths(rows); err != nil {
		return nil, err
	}
	if len(t.lengths) > unfiltered {
		t.filter = uint32(min(maxFilterWords, max(1024, 8<<bits.Len(uint(len(rows))))))
	}
	perLine := entriesPerLine4
	if ipv6 {
		perLine = entriesPerLine6
	}
	t.first = listFilter + (t.filter+15)/16
	t.lines = uint32(len(rows)/perLine + 1)
	for range tableTries {
		t.seed = random()
		t.seed[0] |= 1
		t.seed[1] |= 1
		t.words = make([]uint64, int(t.first+t.lines+listChain-1)*listLineWords)
		if t.place(rows) {
			t.note(rows)
			t.head(rows, base)
			return t.words, nil
		}
		t.lines += t.lines/4 + 1
	}
	return nil, errors.New("the table can't be made: report this") // 16 seeds and ever more room: never seen
}

func (t *listTable) findLengths(rows []listRow) error {
	var used [129]bool
	for _, r := range rows {
		used[r.prefix.Bits()] = true
	}
	for n := 128; n > 0; n-- {
		if used[n] {
			t.lengths = append(t.lengths, uint8(n))
		}
	}
	if len(t.lengths) > maxLengths {
		return errLengths
	}
	return nil
}

// place puts each entry into the first line of its chain that has room, or tells that there is none.
func (t *listTable) place(rows []listRow) bool {
	for _, r := range rows {
		if r.prefix.Bits() == 0 {
			continue
		}
		var placed bool
		if t.ipv6 {
			upper, lower := address6(r.prefix.Addr())
			placed = t.put6(t.line6(upper, lower, uint64(r.prefix.Bits())), upper, lower, r.meta())
		} else {
			key := uint64(address4(r.prefix.Addr()))<<8 | uint64(r.prefix.Bits())
			placed = t.put4(t.line4(key), key<<lengthShift|uint64(r.meta()&(1<<lengthShift-1)))
		}
		if !placed {
			return false
		}
	}
	return true
}

func (t *listTable) put4(line uint32, word uint64) bool {
	at := int(line) * listLineWords
	for i := range listChain * listWays4 {
		if w := &t.words[at+i]; *w == 0 {
			*w = word
			return true
		}
	}
	return false
}

// put6 fills three ways of upper halves, lower halves and, two in a word, what else there is.
func (t *listTable) put6(line uint32, upper, lower uint64, meta uint32) bool {
	for i := range listChain {
		l := t.words[(int(line)+i)*listLineWords:][:listLineWords]
		for way := range listWays6 {
			rest, shift := &l[2*listWays6+way/2], 32*(way%2)
			if uint32(*rest>>shift) == 0 {
				l[way], l[listWays6+way] = upper, lower
				*rest |= uint64(meta) << shift
				return true
			}
		}
	}
	return false
}

func (t *listTable) line4(key uint64) uint32 {
	return t.first + spread(uint32(key*t.seed[0]>>32), t.lines)
}

func (t *listTable) line6(upper, lower, length uint64) uint32 {
	return t.first + spread(uint32(((upper+length)*t.seed[0]+lower*t.seed[1])>>32), t.lines)
}

func spread(hash, n uint32) uint32 { return uint32(uint64(hash) * uint64(n) >> 32) }

// note writes into the filter which lengths there are below and around each value of an address's upper bits.
func (t *listTable) note(rows []listRow) {
	if t.filter == 0 {
		return
	}
	filter := t.words[listFilter*listLineWords:]
	for _, r := range rows {
		if r.prefix.Bits() == 0 {
			continue
		}
		first, span := t.covered(r.prefix)
		if span > filterSpan {
			continue // see always
		}
		bit := uint64(1) << t.bit(r.prefix.Bits())
		for i := range span {
			word := spread((first+uint32(i))*filterMult, t.filter)
			filter[word/2] |= bit << (32 * (word % 2))
		}
	}
}

// covered are the values that the filter's part of the addresses of a prefix has.
func (t *listTable) covered(p netip.Prefix) (first uint32, span uint64) {
	if t.ipv6 {
		upper, _ := address6(p.Addr())
		return uint32(upper >> 32), 1 << max(0, 32-p.Bits())
	}
	return address4(p.Addr()) >> 16, 1 << max(0, 16-p.Bits())
}

// bit is a length's in the masks.
func (t *listTable) bit(length int) int {
	if !t.ipv6 {
		return 32 - length
	}
	return slices.Index(t.lengths, uint8(length))
}

func (t *listTable) head(rows []listRow, base uint64) {
	var lengths, always, shortest uint32
	for i, n := range t.lengths {
		bit := uint32(1) << t.bit(int(n))
		lengths |= bit
		if t.ipv6 && n < 16 {
			always |= bit
		}
		t.words[listLengths*listLineWords+i/8] |= uint64(n) << (8 * (i % 8))
	}
	for _, r := range rows {
		if r.prefix.Bits() == 0 {
			shortest = r.meta()
		}
	}
	pair := func(low, high uint32) uint64 { return uint64(low) | uint64(high)<<32 }
	copy(t.words, []uint64{base, t.seed[0], t.seed[1], pair(lengths, always), pair(t.filter, t.first), pair(t.lines, shortest)})
}

func address4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address6(a netip.Addr) (upper, lower uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// nearSpan is how many values one prefix may be noted by; a shorter one is near everything.
const nearSpan = 256

// nearTo has a bit for each hash of a source's upper bits, as they stand in a packet, that rows of one family are near to.
// See near_listed in bpf/lists.h.
func nearTo(rows []listRow, ipv6 bool) (near [2]uint64) {
	t := listTable{ipv6: ipv6}
	set := func(upper uint32) {
		hash := upper * filterMult
		near[hash>>31] |= 1 << (hash >> 25 & 63)
	}
	for _, r := range rows {
		first, span := t.covered(r.prefix)
		if span > nearSpan {
			return [2]uint64{math.MaxUint64, math.MaxUint64}
		}
		for i := range uint32(span) {
			switch upper := bits.ReverseBytes32(first + i); {
			case !ipv6:
				set(upper >> 16)
			case upper == 0:
				set(1) // the prefix ::/64 goes by another key
				fallthrough
			default:
				set(upper)
			}
		}
	}
	return near
}

// rowsOf reads a table back.
func rowsOf(words []uint64, ipv6 bool) (base uint64, rows []listRow) {
	row := func(a netip.Addr, meta uint32) {
		rows = append(rows, listRow{netip.PrefixFrom(a, int(meta>>lengthShift)), ListKind(meta >> listKindShift & 3), meta & listHeld})
	}
	base = words[0]
	if shortest := uint32(words[5] >> 32); shortest != 0 {
		zero := netip.IPv4Unspecified()
		if ipv6 {
			zero = netip.IPv6Unspecified()
		}
		row(zero, shortest)
	}
	entries := words[uint32(words[4]>>32)*listLineWords:]
	for ; len(entries) > 0; entries = entries[listLineWords:] {
		if !ipv6 {
			for _, w := range entries[:listWays4] {
				if w != 0 {
					var b [4]byte
					binary.BigEndian.PutUint32(b[:], uint32(w>>32))
					row(netip.AddrFrom4(b), uint32(w))
				}
			}
			continue
		}
		for way := range listWays6 {
			if meta := uint32(entries[2*listWays6+way/2] >> (32 * (way % 2))); meta != 0 {
				var b [16]byte
				binary.BigEndian.PutUint64(b[:8], entries[way])
				binary.BigEndian.PutUint64(b[8:], entries[listWays6+way])
				row(netip.AddrFrom16(b), meta)
			}
		}
	}
	return base, rows
}
