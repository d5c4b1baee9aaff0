package policer

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/tc"
)

// protocols that filters are filed under: each has a priority for offenders, and a later one for all.
var protocols = []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_8021Q, unix.ETH_P_8021AD}

const priorities = 8

func priorityOf(first uint16, m tc.Match) uint16 {
	n := first + uint16(slices.Index(protocols, m.Protocol()))
	if !m.Source.IsValid() {
		n += uint16(len(protocols))
	}
	return n
}

// matches lists the filters that it takes for a source, or for all. All have their management ports left out: whoever floods others
// mustn't lock administrators out. A source hasn't: so many filters would make all packets dear, and it is held for what it sends itself.
func matches(u32 bool, source netip.Prefix, management []uint16) (all []tc.Match) {
	ports := []tc.Ports{{}}
	if !source.IsValid() && len(management) > 0 {
		ports = tc.Except(management)
	}
	if u32 {
		var parts []tc.Ports
		for _, p := range ports {
			if p == (tc.Ports{}) {
				parts = ports
				break
			}
			parts = append(parts, p.Aligned()...)
		}
		ports = parts
	}
	for _, ipv6 := range []bool{false, true} {
		if source.IsValid() && source.Addr().Is6() != ipv6 {
			continue
		}
		for _, tags := range []tc.Match{
			{},
			{Tags: 1, Outer: unix.ETH_P_8021Q}, {Tags: 2, Outer: unix.ETH_P_8021Q},
			{Tags: 1, Outer: unix.ETH_P_8021AD}, {Tags: 2, Outer: unix.ETH_P_8021AD},
		} {
			if u32 && tags.Tags > 1 {
				continue
			}
			for _, tags.Ports = range ports {
				tags.IPv6, tags.Source, tags.U32 = ipv6, source, u32
				all = append(all, tags)
			}
		}
	}
	return all
}

// install makes what there isn't yet. Nothing that it makes limits before set says so.
func (p *Policer) install(k *kernel) error {
	made, err := tc.EnsureClsact(p.ifindex)
	if err != nil {
		return err
	}
	k.state.made = k.state.made || made
	if made { // to be remembered whatever happens next
		s := k.was
		s.made = true
		if err := tc.SetPolice(p.stateAction(s)); err != nil {
			return err
		}
	}
	if k.installed {
		return nil
	}
	if k.state.bytes, err = p.onlyBytes(); err != nil {
		return err
	}
	if k.total.Index == 0 {
		if err := tc.SetPolice(p.totalAction(0)); err != nil {
			return err
		}
	}
	if err := p.removeFilters(); err != nil { // what an interrupted start left
		return err
	}
	k.offenders = map[netip.Prefix]tc.Police{}
	k.state.priority = tc.FreePriority(k.others, priorities)
	u32 := p.opts.u32
	err = p.addFilters(k.state.priority, u32, netip.Prefix{}, totalSlot)
	if !u32 && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)) {
		u32 = true
		p.opts.Log.Warn("the kernel has no flower classifier: SYNs behind IPv6 extension headers and two VLAN tags aren't limited", "interface", p.opts.Interface)
		err = p.addFilters(k.state.priority, u32, netip.Prefix{}, totalSlot)
	}
	if err != nil {
		return err
	}
	p.opts.u32, k.installed, k.total.Note = u32, true, p.totalAction(0).Note
	return nil
}

// onlyBytes tells whether the kernel has no rates of packets: before Linux 5.12 it ignores what it doesn't know.
func (p *Policer) onlyBytes() (bool, error) {
	if p.opts.bytes {
		return true, nil
	}
	try := tc.Police{Index: p.base + probeSlot, Rate: 1, Burst: 1, Note: p.totalAction(0).Note}
	if err := tc.SetPolice(try); err != nil {
		return false, err
	}
	a, _, err := tc.GetPolice(try.Index)
	if err = errors.Join(err, tc.RemovePolice(try.Index)); err != nil {
		return false, err
	}
	if a.Rate == try.Rate {
		return false, nil
	}
	p.opts.Log.Warn("the kernel polices bytes, not packets: SYNs of unusual size count a little more or less", "interface", p.opts.Interface)
	return true, nil
}

func (p *Policer) totalAction(rate uint64) tc.Police {
	a := tc.Police{Index: p.base + totalSlot, Rate: rate}
	copy(a.Note[:], magic[:])
	h := fnv.New64a()
	for _, port := range slices.Sorted(slices.Values(p.opts.Management)) {
		_, _ = h.Write(binary.BigEndian.AppendUint16(nil, port)) // can't fail
	}
	binary.BigEndian.PutUint64(a.Note[8:], h.Sum64()) // which ports its filters leave out
	return a
}

func (p *Policer) addFilters(first uint16, u32 bool, source netip.Prefix, slot uint32) error {
	for _, m := range matches(u32, source, p.opts.Management) {
		if err := tc.AddFilter(p.ifindex, priorityOf(first, m), m, p.base+slot); err != nil {
			return err
		}
	}
	return nil
}

// set gives all actions the rates that the state asks for, by one message.
func (p *Policer) set(k kernel) error {
	total := p.totalAction(0)
	if k.total.Index != 0 {
		total.Note = k.total.Note // of the filters that are there, which another's configuration may have made
	}
	if k.state.limit != (datapath.Limit{}) {
		total.Rate, total.Burst, total.Bytes = p.opts.Total.Rate, p.opts.Total.Burst, k.state.bytes
	}
	all := []tc.Police{total, p.stateAction(k.state)}
	for source, a := range k.offenders {
		all = append(all, p.offenderAction(k, source, a.Index))
	}
	return tc.SetPolice(all...)
}

func (p *Policer) offenderAction(k kernel, source netip.Prefix, index uint32) tc.Police {
	return tc.Police{
		Index: index, Rate: k.state.limit.Rate, Burst: k.state.limit.Burst, Bytes: k.state.bytes, Note: sourceNote(source),
	}
}

// uninstall removes the filters, and the qdisc if weir has made it and nobody else uses it. The actions stay, with their counts.
func (p *Policer) uninstall(k kernel) error {
	if err := p.removeFilters(); err != nil {
		return err
	}
	clear(p.seen)
	if !k.state.made {
		return nil
	}
	return tc.RemoveClsact(p.ifindex)
}

// removeFilters removes weir's.
func (p *Policer) removeFilters() error {
	all, err := tc.Filters(p.ifindex)
	if err != nil {
		return err
	}
	ours := map[uint16]tc.Filter{} // one of each priority
	for _, f := range all {
		if f.Table || f.Police&^0xff == p.base {
			ours[f.Priority] = f
		}
	}
	for _, table := range []bool{false, true} { // u32's tables outlive their priority: they go first, and before them what refers to them
		for _, f := range all {
			if _, is := ours[f.Priority]; is && f.Kind == "u32" && f.Table == table && (table || f.Handle&0xfff != 0) {
				if err := tc.RemoveFilter(p.ifindex, f); err != nil {
					return err
				}
			}
		}
	}
	var errs []error
	for _, f := range ours {
		errs = append(errs, tc.RemovePriority(p.ifindex, f.Priority, f.Protocol, f.Kind))
	}
	return errors.Join(errs...)
}
