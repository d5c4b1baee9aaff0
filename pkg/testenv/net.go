package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	netnsDir = "/run/netns"
	prefix   = "weir-" // of all that this package leaves in the system: weir-PID-NUMBER…
)

var (
	reapOnce sync.Once
	serial   atomic.Uint32
)

// unique names something after this process, so that a later one knows whose it was.
func unique() string { return fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), serial.Add(1)) }

// Net is a set of hosts that reach each other and nothing else.
type Net struct {
	t     testing.TB
	name  string
	hosts []*Host
}

// NewNet makes an empty net that lasts as long as the test.
func NewNet(t testing.TB) *Net {
	t.Helper()
	Root(t)
	Tool(t, "ip", "ethtool", "nsenter")
	reapOnce.Do(reapAll)
	n := &Net{t: t, name: unique()}
	t.Cleanup(n.close)
	return n
}

// Host adds a host without any link. Its loopback is up, it forwards nothing, checks no source addresses and says nothing
// by itself when a link comes up (no duplicate address detection, no router solicitations).
func (n *Net) Host(name string) *Host {
	n.t.Helper()
	h := &Host{Name: name, netns: n.name + "-" + name, net: n}
	run(n.t, "", "ip", "netns", "add", h.netns)
	n.hosts = append(n.hosts, h)
	for _, conf := range []string{"all", "default"} {
		h.Sysctl(n.t, "net/ipv4/conf/"+conf+"/rp_filter", "0")
		h.Sysctl(n.t, "net/ipv6/conf/"+conf+"/accept_dad", "0")
		h.Sysctl(n.t, "net/ipv6/conf/"+conf+"/router_solicitations", "0")
		h.Sysctl(n.t, "net/ipv6/conf/"+conf+"/forwarding", "0")
	}
	h.Sysctl(n.t, "net/ipv4/ip_forward", "0")
	h.ip(n.t, "link set lo up")
	return h
}

// Cable lays a cable, a veth pair. Checksums are whole at both ends and frames no longer than the wire allows, as on
// real cables; generic receive offload makes veth poll, without which frames sent by XDP_TX would vanish.
func Cable(t testing.TB, a *Host, aIface string, b *Host, bIface string) {
	t.Helper()
	queues := fmt.Sprintf("numtxqueues %[1]d numrxqueues %[1]d", runtime.NumCPU()) // as network cards have
	a.ip(t, fmt.Sprintf("link add %s %s type veth peer name %s %s netns %s", aIface, queues, bIface, queues, b.netns))
	for _, end := range []struct {
		host  *Host
		iface string
	}{{a, aIface}, {b, bIface}} {
		run(t, "", "nsenter", "--net="+end.host.path(), "ethtool", "-K", end.iface,
			"tx", "off", "tso", "off", "gso", "off", "gro", "on")
		end.host.ip(t, fmt.Sprintf("link set %s up", end.iface))
	}
}

func (n *Net) close() {
	for _, h := range n.hosts {
		if err := removeNetns(h.netns); err != nil {
			n.t.Errorf("remove host %s: %v", h.Name, err)
		}
	}
}

// reapAll removes what dead processes left behind. Nothing is ours yet when it is called: what bears our own number was
// left by an earlier process that had it.
func reapAll() { reap(func(pid int) bool { return pid == os.Getpid() || dead(pid) }) }

// reap removes what belongs to the processes that satisfy gone. Another test run may be doing the same, so that what
// can't be removed is no error.
func reap(gone func(pid int) bool) {
	for _, dir := range []string{netnsDir, bpffs} {
		paths, _ := filepath.Glob(filepath.Join(dir, prefix+"[0-9]*-*"))
		for _, path := range paths {
			var pid int
			name := filepath.Base(path)
			if _, err := fmt.Sscanf(name, prefix+"%d-", &pid); err != nil || !gone(pid) {
				continue
			}
			if dir == netnsDir {
				_ = removeNetns(name)
			} else {
				_ = os.RemoveAll(path)
			}
		}
	}
}

// dead counts zombies too, which have no program any more: in a container nobody may ever wait for them.
func dead(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	return os.IsNotExist(err)
}
