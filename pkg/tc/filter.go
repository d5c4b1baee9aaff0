package tc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Filter is one of an interface's ingress filters.
type Filter struct {
	Priority uint16 // the lowest comes first
	Protocol uint16 // ETH_P_…, of the outermost tag where there is one
	Handle   uint32
	Kind     string // flower, u32, bpf …
	Police   uint32 // index of its police action; 0 for none
	Program  uint32 // ID of its BPF program; 0 for none
	Name     string // of its BPF program
	Table    bool   // no filter but a table of u32's that AddFilter made
}

// Filters lists an interface's ingress filters of chain 0, by priority. It returns none where there is no qdisc for them.
func Filters(ifindex int) ([]Filter, error) { return filters(ifindex, parent) }

func filters(ifindex int, of uint32) ([]Filter, error) {
	answers, err := request(unix.RTM_GETTFILTER, unix.NLM_F_DUMP, message(ifindex, of, 0, 0, 0))
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("list filters", err)
	}
	var all []Filter
	for _, b := range answers {
		f, ok, err := decodeFilter(b)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, f)
		}
	}
	return all, nil
}

// message is the header of all that concerns filters.
func message(ifindex int, of uint32, priority, protocol uint16, handle uint32) *nl.TcMsg {
	return &nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(ifindex), Parent: of, Handle: handle,
		Info: netlink.MakeHandle(priority, nl.Swap16(protocol)),
	}
}

var errShort = errors.New("the kernel's answer about traffic control is cut short")

// decodeFilter returns false for what only announces a classifier or one of its hash tables.
func decodeFilter(b []byte) (f Filter, ok bool, err error) {
	if len(b) < nl.SizeofTcMsg {
		return f, false, errShort
	}
	m := nl.DeserializeTcMsg(b)
	f = Filter{Priority: uint16(m.Info >> 16), Protocol: nl.Swap16(uint16(m.Info)), Handle: m.Handle}
	attrs, err := nl.ParseRouteAttr(b[nl.SizeofTcMsg:])
	if err != nil {
		return f, false, fmt.Errorf("read a filter: %w", err)
	}
	for _, a := range attrs {
		switch a.Attr.Type & nl.NLA_TYPE_MASK {
		case nl.TCA_KIND:
			f.Kind = nl.BytesToString(a.Value)
		case nl.TCA_OPTIONS:
			if err := f.decodeOptions(a.Value); err != nil {
				return f, false, err
			}
			ok = true
		case nl.TCA_CHAIN:
			if len(a.Value) >= 4 && binary.NativeEndian.Uint32(a.Value) != 0 {
				return f, false, nil
			}
		}
	}
	f.Table = f.Kind == "u32" && f.Handle == u32Table(f.Priority)
	return f, ok && f.Handle != 0, nil
}

// The attributes of actions, by kind of filter.
const (
	flowerAct = nl.TCA_FLOWER_ACT
	u32Act    = nl.TCA_U32_ACT
)

func (f *Filter) decodeOptions(b []byte) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return fmt.Errorf("read a filter's options: %w", err)
	}
	for _, a := range attrs {
		kind := int(a.Attr.Type & nl.NLA_TYPE_MASK)
		switch {
		case f.Kind == "flower" && kind == flowerAct, f.Kind == "u32" && kind == u32Act:
			actions, err := decodeActions(a.Value)
			if err != nil {
				return err
			}
			for _, x := range actions {
				f.Police = x.Index
			}
		case f.Kind == "bpf" && kind == nl.TCA_BPF_ID && len(a.Value) >= 4:
			f.Program = binary.NativeEndian.Uint32(a.Value)
		case f.Kind == "bpf" && kind == nl.TCA_BPF_NAME:
			f.Name = nl.BytesToString(a.Value)
		}
	}
	return nil
}

// AddFilter adds a filter that leaves what it matches to a police action, whatever else the packet may meet after it.
func AddFilter(ifindex int, priority uint16, m Match, police uint32) error {
	steps := m.steps(priority, police)
	for i := 0; i < len(steps); i++ {
		s := steps[i]
		_, err := request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK,
			message(ifindex, parent, priority, m.Protocol(), s.handle),
			nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(m.kind())), s.options)
		switch {
		case s.once > 0 && errors.Is(err, unix.EEXIST):
			i += s.once - 1
		case err != nil:
			return explain("add a "+m.kind()+" filter", err)
		}
	}
	return nil
}

// RemoveFilter removes one filter. One that isn't there is no error.
func RemoveFilter(ifindex int, f Filter) error {
	return removeFilter(message(ifindex, parent, f.Priority, f.Protocol, f.Handle), f.Kind)
}

// RemovePriority removes all filters of a priority, at once.
func RemovePriority(ifindex int, priority, protocol uint16, kind string) error {
	return removeFilter(message(ifindex, parent, priority, protocol, 0), kind)
}

func removeFilter(m *nl.TcMsg, kind string) error {
	return settle(unix.EBUSY, func() error {
		_, err := request(unix.RTM_DELTFILTER, unix.NLM_F_ACK, m, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(kind)))
		if gone(err) {
			return nil
		}
		return explain("remove a filter", err)
	})
}
