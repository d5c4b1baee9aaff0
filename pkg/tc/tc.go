// Package tc sets traffic control on an interface's ingress: the clsact qdisc, filters and police actions. It alone imports
// vishvananda/netlink. All of it concerns the network namespace of the calling thread.
//
// The library knows neither packet rates of police actions, nor actions that stand by themselves, nor TCP flags in flower: such
// messages are made here, of its parts, after linux/pkt_cls.h.
package tc

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// parent of ingress filters, for clsact and for the older ingress qdisc as well.
const parent = netlink.HANDLE_MIN_INGRESS

// request sends a message and returns the answers' payloads.
func request(kind, flags int, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	req := nl.NewNetlinkRequest(kind, flags)
	for _, p := range parts {
		req.AddData(p)
	}
	return req.Execute(unix.NETLINK_ROUTE, 0)
}

// EnsureClsact makes sure that an interface takes filters. made tells that it didn't before.
func EnsureClsact(ifindex int) (made bool, err error) {
	have, err := hasIngress(ifindex)
	if have || err != nil {
		return false, err
	}
	err = netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if errors.Is(err, unix.EEXIST) { // somebody was faster
		return false, nil
	}
	return err == nil, explain("add the clsact qdisc", err)
}

// hasIngress tells whether there is a clsact or an ingress qdisc.
func hasIngress(ifindex int) (bool, error) {
	all, err := netlink.QdiscList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: ifindex}})
	if err != nil {
		return false, explain("list qdiscs", err)
	}
	for _, q := range all {
		if q.Attrs().LinkIndex == ifindex && (q.Type() == "clsact" || q.Type() == "ingress") {
			return true, nil
		}
	}
	return false, nil
}

// RemoveClsact removes the clsact qdisc unless somebody has filters on it, in or out.
func RemoveClsact(ifindex int) error {
	for _, of := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		all, err := filters(ifindex, of)
		if err != nil || len(all) > 0 {
			return err
		}
	}
	err := netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if gone(err) {
		return nil
	}
	return explain("remove the clsact qdisc", err)
}

// gone tells that something to be removed isn't there.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV)
}

// settle tries for a while if something is said to be in use: what was removed before the kernel ends later, after an RCU grace period.
func settle(inUse error, remove func() error) error {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err := remove(); !errors.Is(err, inUse) || time.Now().After(end) {
			return err
		}
	}
}

// explain says what was attempted, and what to do where that is known.
func explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: run as root, or with CAP_NET_ADMIN", what, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s: %w: the kernel lacks it: see weir doctor", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
