package tc

import (
	"slices"

	"github.com/vishvananda/netlink"
)

// AddProgram attaches a BPF program (of type sched_cls) to an interface's ingress, before the filters of others where there is room. It
// decides by its return value (direct action).
func AddProgram(ifindex, fd int, name string) error {
	others, err := Filters(ifindex)
	if err != nil {
		return err
	}
	return explain("attach a program to tc", netlink.FilterAdd(program(ifindex, FreePriority(others, 1), 1, fd, name)))
}

// ReplaceProgram puts another program into the place of one, in one step.
func ReplaceProgram(ifindex int, f Filter, fd int) error {
	return explain("exchange tc's program", netlink.FilterReplace(program(ifindex, f.Priority, f.Handle, fd, f.Name)))
}

func program(ifindex int, priority uint16, handle uint32, fd int, name string) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex, Parent: parent, Priority: priority, Handle: handle, Protocol: ethPAll,
		},
		Fd: fd, Name: name, DirectAction: true,
	}
}

// XDPProgram returns the ID of the program that XDP runs on an interface, 0 for none.
func XDPProgram(ifindex int) (uint32, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return 0, explain("look at the interface", err)
	}
	if x := l.Attrs().Xdp; x != nil {
		return x.ProgId, nil
	}
	return 0, nil
}

const ethPAll = 0x0003 // ETH_P_ALL

// FreePriority returns the lowest priority from which on there are n that nobody uses: the filters of others then see what weir lets
// pass, and none of them lets pass what weir should see, if that can be had.
func FreePriority(others []Filter, n uint16) uint16 {
	taken := make([]uint16, 0, len(others))
	for _, f := range others {
		taken = append(taken, f.Priority)
	}
	slices.Sort(taken)
	first := uint16(1)
	for _, t := range taken {
		if t >= first && t < first+n {
			first = t + 1
		}
	}
	return first
}
