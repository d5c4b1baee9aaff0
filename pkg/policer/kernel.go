package policer

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/tc"
)

// The actions of an interface have the indexes 0x77iiiiss: i of the interface, s one of these slots.
const (
	totalSlot = 0
	slots     = 31  // the total's and those of offenders; with the state they fit into one message
	probeSlot = 254 // to try what the kernel has
	stateSlot = 255 // no filter uses it: it holds what was asked for

	indexMark = 0x77 << 24
)

func indexes(ifindex int) uint32 { return indexMark | uint32(ifindex)&0xffff<<8 }

// MaxOffenders is how many sources can be held to a rate of their own at once.
const MaxOffenders = slots - 1

// magic begins the note of all that is weir's; its last byte is the layout's version.
var magic = [5]byte{'w', 'e', 'i', 'r', 1}

// state is what the state's action tells.
type state struct {
	known    bool
	limit    datapath.Limit // zero for off
	until    time.Duration  // of the clock of now
	made     bool           // the qdisc wasn't there before
	counting bool           // filters stay while nothing is limited
	priority uint16         // of the first filter; 0 while there are none
	bytes    bool
}

const (
	flagMade = 1 << iota
	flagCounting
)

func (p *Policer) stateAction(s state) tc.Police {
	a := tc.Police{Index: p.base + stateSlot, Rate: s.limit.Rate, Burst: s.limit.Burst, Bytes: s.bytes}
	copy(a.Note[:], magic[:])
	if s.made {
		a.Note[5] |= flagMade
	}
	if s.counting {
		a.Note[5] |= flagCounting
	}
	binary.BigEndian.PutUint16(a.Note[6:], s.priority)
	binary.BigEndian.PutUint64(a.Note[8:], uint64(s.until))
	return a
}

func decodeState(a tc.Police) state {
	if !ours(a) {
		return state{}
	}
	return state{
		known: true, limit: datapath.Limit{Rate: a.Rate, Burst: a.Burst}, bytes: a.Bytes,
		made: a.Note[5]&flagMade != 0, counting: a.Note[5]&flagCounting != 0,
		priority: binary.BigEndian.Uint16(a.Note[6:]), until: time.Duration(binary.BigEndian.Uint64(a.Note[8:])),
	}
}

func ours(a tc.Police) bool { return [5]byte(a.Note[:5]) == magic }

func errForeign(index uint32) error {
	return fmt.Errorf("somebody else uses tc's police action %d: take it away with `tc actions del action police index %d`", index, index)
}

// sourceNote names an offender in the note of its action.
func sourceNote(s netip.Prefix) (note [16]byte) {
	copy(note[:], magic[:])
	note[5] = 6
	if s.Addr().Is4() {
		note[5] = 4
	}
	note[6] = uint8(s.Bits())
	copy(note[8:], s.Addr().AsSlice()) // the upper half of an IPv6 address: offenders are /64 at most
	return note
}

func noted(a tc.Police) netip.Prefix {
	var address netip.Addr
	switch a.Note[5] {
	case 4:
		address = netip.AddrFrom4([4]byte(a.Note[8:12]))
	case 6:
		var b [16]byte
		copy(b[:], a.Note[8:])
		address = netip.AddrFrom16(b)
	}
	return netip.PrefixFrom(address, int(a.Note[6]))
}

// kernel is all of weir's that the kernel has for an interface.
type kernel struct {
	was       state // as read
	state     state // as it is to be
	total     tc.Police
	offenders map[netip.Prefix]tc.Police
	filters   []tc.Filter // ours
	others    []tc.Filter
	installed bool // all filters for all SYNs are there
}

func (p *Policer) read() (kernel, error) {
	k := kernel{offenders: map[netip.Prefix]tc.Police{}}
	filters, err := tc.Filters(p.ifindex)
	if err != nil {
		return k, err
	}
	used := map[uint32]int{}
	for _, f := range filters {
		switch {
		case f.Table:
		case f.Police == 0 || f.Police&^0xff != p.base:
			k.others = append(k.others, f)
		default:
			k.filters = append(k.filters, f)
			used[f.Police]++
		}
	}
	all, err := tc.ListPolice()
	if err != nil {
		return k, err
	}
	for _, a := range all {
		slot := a.Index - p.base
		switch {
		case a.Index&^0xff != p.base:
			continue
		case !ours(a):
			return k, errForeign(a.Index)
		case slot == stateSlot:
			k.was = decodeState(a)
			k.state = k.was
		case slot == totalSlot:
			k.total = a
		case used[a.Index] > 0:
			k.offenders[noted(a)] = a
		}
	}
	matching := used[p.base+totalSlot]
	k.installed = k.state.priority > 0 && k.total.Note == p.totalAction(0).Note &&
		matching == len(matches(p.kindOf(k), netip.Prefix{}, p.opts.Management))
	return k, nil
}

// kindOf tells what sort of filter is used, once there are any.
func (p *Policer) kindOf(k kernel) (u32 bool) {
	for _, f := range k.filters {
		return f.Kind == "u32"
	}
	return p.opts.u32
}
