package hoststats

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/safchain/ethtool"
)

// NIC is what a network interface is and can do.
type NIC struct {
	Driver string
	MTU    int
	Queues int  // for what is received; 0 for unknown
	LRO    bool // merges segments before XDP would see them
	// Offloads are the states of those that change packets before XDP or tc sees them, as "gro on".
	Offloads []string
	Strips   bool // takes VLAN tags off before XDP
	VLANs    bool // has VLAN interfaces
	// XDP tells whether the driver runs XDP programs itself; XDPErr why that isn't known, as before Linux 6.3.
	XDP    bool
	XDPErr error
}

// ReadNIC asks about an interface of the calling process's network namespace. What a driver doesn't tell stays empty.
func ReadNIC(name string) (NIC, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return NIC{}, fmt.Errorf("interface %s: %w", name, err)
	}
	n := NIC{MTU: i.MTU}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return NIC{}, fmt.Errorf("ask the driver of %s: %w", name, err)
	}
	defer e.Close()
	n.Driver, _ = e.DriverName(name) // some have none
	if channels, err := e.GetChannels(name); err == nil {
		n.Queues = int(channels.RxCount + channels.CombinedCount)
	}
	if features, err := e.Features(name); err == nil {
		n.LRO, n.Strips = features["rx-lro"], features["rx-vlan-hw-parse"]
		for _, o := range []struct{ short, feature string }{{"lro", "rx-lro"}, {"gro", "rx-gro"}, {"gro-hw", "rx-gro-hw"}, {"rxvlan", "rx-vlan-hw-parse"}} {
			state := "off"
			if features[o.feature] {
				state = "on"
			}
			n.Offloads = append(n.Offloads, o.short+" "+state)
		}
	}
	n.VLANs = hasVLANs(name)
	n.XDP, n.XDPErr = hasXDP(i.Index)
	return n, nil
}

// hasVLANs looks at what is made upon an interface.
func hasVLANs(name string) bool {
	uppers, _ := filepath.Glob(filepath.Join("/sys/class/net", name, "upper_*", "uevent")) // the pattern is fine
	for _, u := range uppers {
		if text, err := os.ReadFile(u); err == nil && strings.Contains(string(text), "DEVTYPE=vlan") {
			return true
		}
	}
	return false
}

// The netdev family, see include/uapi/linux/netdev.h.
const (
	netdevCommandGet  = 1
	netdevIndex       = 1
	netdevXDPFeatures = 3
	netdevXDPBasic    = 1 // of the features: XDP_ABORTED, DROP, PASS and TX
)

func hasXDP(ifindex int) (bool, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }() // only read
	family, err := c.GetFamily("netdev")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, fs.ErrNotExist) {
		return false, errors.New("drivers tell since Linux 6.3")
	}
	if err != nil {
		return false, err
	}
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(netdevIndex, uint32(ifindex))
	data, err := ae.Encode()
	if err != nil {
		return false, err
	}
	answers, err := c.Execute(genetlink.Message{Header: genetlink.Header{Command: netdevCommandGet, Version: family.Version}, Data: data}, family.ID, netlink.Request)
	if err != nil {
		return false, err
	}
	for _, m := range answers {
		ad, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return false, err
		}
		for ad.Next() {
			if ad.Type() == netdevXDPFeatures {
				return ad.Uint64()&netdevXDPBasic != 0, ad.Err()
			}
		}
		if ad.Err() != nil {
			return false, ad.Err()
		}
	}
	return false, errors.New("the kernel didn't say")
}
