package doctor

import (
	"fmt"
	"strings"
)

// Card is what is known of a network interface.
type Card struct {
	Name   string
	Driver string
	MTU    int
	Queues int
	LRO    bool
	// Offloads are what else the card does to packets before anybody sees them: name and state, as ethtool -k has them.
	Offloads []string
	Strips   bool // VLAN tags, before XDP
	VLANs    bool // there are VLAN interfaces on it
	XDP      bool
	XDPErr   error
	CPUs     int
	Tier     string // weir's now; "" for none
	Err      error  // why Tier isn't known
	Foreign  bool   // somebody else's XDP program is attached
	Overdue  bool   // tc's limit is on, and its lease is over
}

// Abilities are what the datapath can do here; nil is yes.
type Abilities struct {
	Load, Generic, TC, Challenge, OwnCookies, Watch, Tracking, Note error
}

// Policing is what tc's police actions can do here.
type Policing struct {
	Police error // nil is yes
	U32    bool  // for want of flower
	Bytes  bool  // for want of rates of packets
}

// nativeMTU is what fits a page of 4096 bytes, less XDP's headroom (256), struct skb_shared_info (320) and the headers of Ethernet and
// VLANs (22); larger frames need a driver with XDP fragments.
const nativeMTU = 3498

// Interface looks at a network interface.
func Interface(r *Report, c Card) {
	check := "nic " + c.Name
	queues := ""
	if c.Queues > 0 {
		queues = fmt.Sprintf(", receive queues: %d", c.Queues)
	}
	r.ok(check, "driver %s, MTU %d%s%s", name(c.Driver), c.MTU, queues, offloads(c))
	switch {
	case c.Err != nil:
		r.add("tier", Unknown, c.Err.Error(), "", "run weir doctor as root")
	case c.Tier == "tc-police":
		r.add("tier", Warning, "weir holds it by "+c.Tier, "SYNs alone are counted and held, all sources' together: "+
			"no top sources, no lists, no budgets, no challenge", mendTier(c))
	case c.Tier == "tc-bpf":
		r.add("tier", Warning, "weir holds it by "+c.Tier, "the kernel builds every packet before it is dropped, some ten times slower, and nobody is challenged", mendTier(c))
	case c.Tier == "" && c.Foreign:
		r.add("tier", Warning, "weir doesn't hold it, and another XDP program does", "weir will take tc-bpf, some ten times slower, and challenge nobody", mendTier(c))
	case c.Tier == "xdp-generic":
		r.add("tier", Warning, "weir holds it by "+c.Tier, "the kernel builds every packet before it is dropped: some ten times slower", mendTier(c))
	case c.Tier != "":
		r.ok("tier", "weir holds it by %s", c.Tier)
	case c.XDPErr != nil:
		r.add("tier", Unknown, "weir doesn't hold it; whether its driver runs XDP isn't known: "+c.XDPErr.Error(), "", "weir up: it says which tier it got")
	case !c.XDP:
		r.add("tier", Warning, "weir doesn't hold it, and its driver runs no XDP", "weir will take xdp-generic, some ten times slower", mendTier(c))
	default:
		r.ok("tier", "weir doesn't hold it; its driver runs XDP")
	}
	if c.Overdue {
		r.add("lease", Bad, "tc's limit is on though its lease is over, and nobody lives who would end it", "SYNs over the total are dropped for no reason",
			fmt.Sprintf("weir unload --interface %s, or start the controller", c.Name))
	}
	if c.Strips && c.VLANs {
		r.add(check, Warning, "there are VLANs on it, and it takes their tags off before XDP", "the challenge answers without a tag: VLANs' clients don't get it",
			fmt.Sprintf("ethtool -K %s rxvlan off", c.Name))
	}
	if c.LRO {
		r.add(check, Warning, "large receive offload is on", "many drivers refuse XDP with it", fmt.Sprintf("ethtool -K %s lro off", c.Name))
	}
	if c.MTU > nativeMTU {
		r.add(check, Warning, fmt.Sprintf("MTU %d is more than a page holds", c.MTU), "drivers without XDP fragments refuse weir's program, and it falls back to xdp-generic",
			fmt.Sprintf("ip link set %s mtu %d, if nothing needs more", c.Name, 1500))
	}
	if c.Queues == 1 && c.CPUs > 1 {
		r.add(check, Warning, "all packets come by one queue", fmt.Sprintf("one of %d CPUs takes the whole flood", c.CPUs), fmt.Sprintf("ethtool -L %s combined %d, if the card has more", c.Name, c.CPUs))
	}
}

func offloads(c Card) string {
	if len(c.Offloads) == 0 {
		return ""
	}
	return ", offloads: " + strings.Join(c.Offloads, ", ")
}

func name(driver string) string {
	if driver == "" {
		return "unknown"
	}
	return driver
}

func mendTier(c Card) string {
	if c.Foreign {
		return fmt.Sprintf("ip link set dev %s xdp off, if it isn't needed; then weir unload and start again", c.Name)
	}
	if c.XDPErr == nil && c.XDP {
		return "the driver has XDP: see MTU and offloads here, then weir unload and start again"
	}
	return "another card or driver: docs/compatibility.md"
}

const newKernel = "install a kernel that has it, as Debian's do: apt-get install linux-image-amd64"

// Policer notes what limiter: tc, and the tier tc-police, can do.
func Policer(r *Report, p Policing) {
	const check = "tc-police"
	if p.Police != nil {
		r.add(check, Warning, "not: "+strings.TrimSuffix(p.Police.Error(), ": see weir doctor"), "limiter: tc can't be had, and where no BPF program can be attached nothing limits", newKernel)
		return
	}
	r.ok(check, "tc can hold SYNs to a rate")
	if p.U32 {
		r.add(check, Warning, "they are matched by u32, for want of flower", "SYNs behind IPv6 extension headers or two VLAN tags aren't held", newKernel)
	}
	if p.Bytes {
		r.add(check, Warning, "rates are of bytes, for want of rates of packets", "SYNs of unusual size count a little more or less", "Linux 5.12 or later")
	}
}

// Datapath looks at what can be loaded.
func Datapath(r *Report, a Abilities) {
	for _, x := range []struct {
		check, is string
		err       error
		level     Level
		costs     string
		mend      string
	}{
		{"datapath", "programs can be loaded", a.Load, Bad, "nothing is counted or limited", "run as root; Linux 5.15 or later, with CONFIG_BPF_SYSCALL"},
		{"xdp-generic", "XDP runs on cards whose drivers have none", a.Generic, Warning, "such cards get tc-bpf, which challenges nobody", newKernel},
		{"tc-bpf", "tc's program can take XDP's place", a.TC, Warning, "where there is no XDP SYNs alone are counted and held, or nothing is", newKernel},
		{"challenge", "SYN cookies can be made in XDP", a.Challenge, Warning, "floods from spoofed sources are limited in all, not told apart", "Linux 6.0 or later"},
		{"own cookies", "and of weir's own kind", a.OwnCookies, Warning, "a challenge changes net.ipv4.tcp_syncookies and tcp_timestamps while it lasts, and holds a quarter less", "Linux 6.9 or later"},
		{"handshakes", "those that the kernel completes are seen", a.Watch, Warning, "sources are known only once they were challenged, and limit.connections doesn't act", "CAP_PERFMON, and a kernel with BTF"},
		{"replies", "what leaves is seen", a.Note, Warning, "budgets may drop replies to pings and to UDP sockets that aren't connected", "Linux 6.6 or later"},
		{"tracking", "connection tracking can be asked", a.Tracking, OK, "", ""},
	} {
		switch {
		case x.err == nil:
			r.ok(x.check, "%s", x.is)
		case x.level == OK: // good to have, and nothing to mend
			r.add(x.check, OK, "not: "+x.err.Error(), "", "")
		default:
			r.add(x.check, x.level, "not: "+x.err.Error(), x.costs, x.mend)
		}
		if a.Load != nil {
			return // nor can anything else
		}
	}
}
