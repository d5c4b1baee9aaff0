package doctor

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// capabilities that the sensor and the controller need, by their numbers in include/uapi/linux/capability.h.
var capabilities = []struct {
	name  string
	bit   uint
	level Level
	costs string
}{
	{"CAP_BPF", unix.CAP_BPF, Bad, "no program can be loaded"},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, Bad, "no program can be attached"},
	{"CAP_PERFMON", unix.CAP_PERFMON, Warning, "handshakes that the kernel completes aren't seen"},
}

// Privilege looks at this process's capabilities and limits.
func (m Machine) Privilege(r *Report) {
	status, err := m.read("proc/self/status")
	if err != nil {
		r.add("capabilities", Unknown, err.Error(), "", "mount /proc")
		return
	}
	effective, ok := uint64(0), false
	for line := range strings.Lines(status) {
		if text, found := strings.CutPrefix(line, "CapEff:"); found {
			effective, err = strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			ok = err == nil
		}
	}
	if !ok {
		r.add("capabilities", Unknown, "/proc/self/status has no CapEff", "", "")
		return
	}
	all := true
	const sysAdmin = 1 << unix.CAP_SYS_ADMIN // implies CAP_BPF and CAP_PERFMON
	for _, c := range capabilities {
		if effective&(1<<c.bit) == 0 && (c.bit == unix.CAP_NET_ADMIN || effective&sysAdmin == 0) {
			all = false
			r.add("capabilities", c.level, c.name+" is missing", c.costs, "sudo weir doctor; for a service, AmbientCapabilities="+c.name+" in its unit")
		}
	}
	if all {
		r.ok("capabilities", "all that weir needs are there")
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil {
		r.add("memlock", Unknown, err.Error(), "", "")
		return
	}
	// Some machines let nobody raise it; since Linux 5.11 maps aren't charged to it.
	r.ok("memlock", "RLIMIT_MEMLOCK is %s; Linux 5.11 and later charge maps to the control group instead", limit(l.Cur))
}

func limit(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// settings are what a server under attack wants to have, and what it costs to have less.
var settings = []struct {
	name  string
	least uint64
	level Level
	costs string
}{
	{"net.ipv4.tcp_syncookies", 1, Warning, "no challenge, and the kernel drops all SYNs when a listener's queue is full"},
	{"net.ipv4.tcp_timestamps", 1, Warning, "connections made under the kernel's cookies lose window scaling and SACK"},
	{"net.ipv4.tcp_max_syn_backlog", 1024, Warning, "listeners hold few half-open connections"},
	{"net.core.somaxconn", 1024, Warning, "listeners hold few connections that wait to be accepted, whatever they ask for"},
}

// Settings looks at the kernel's settings, the clock and who listens.
func (m Machine) Settings(r *Report, managementPorts []uint16) {
	fine := true
	for _, s := range settings {
		n, ok := m.number("proc/sys/" + strings.ReplaceAll(s.name, ".", "/"))
		switch {
		case !ok:
			fine = false
			r.add("sysctl", Unknown, s.name+" can't be read", "", "")
		case n < s.least:
			fine = false
			r.add("sysctl", s.level, fmt.Sprintf("%s is %d", s.name, n), s.costs, fmt.Sprintf("sysctl -w %s=%d", s.name, s.least))
		}
	}
	if fine {
		r.ok("sysctl", "as they should be")
	}
	m.listeners(r, managementPorts)
}

// Clock tells whether the time is kept.
func Clock(r *Report) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		r.add("clock", Unknown, err.Error(), "", "")
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		r.add("clock", Warning, "nothing keeps it right", "commands by others are refused when the clocks are 30 s apart", "apt-get install systemd-timesyncd, or chrony")
	default:
		r.ok("clock", "it is kept right, to %v or so", time.Duration(t.Maxerror)*time.Microsecond)
	}
}

// listeners tells the ports that somebody listens on: those are what the challenge protects.
func (m Machine) listeners(r *Report, managementPorts []uint16) {
	var ports []uint16
	for _, table := range []string{"proc/self/net/tcp", "proc/self/net/tcp6"} {
		text, err := m.read(table)
		if err != nil {
			continue // a kernel without IPv6
		}
		ports = append(ports, listening(text)...)
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if len(ports) == 0 {
		r.add("listeners", Warning, "nobody listens on TCP, but on loopback", "there is nothing to protect by the challenge", "start the service, or name the network namespace that it is in")
		return
	}
	r.ok("listeners", "TCP ports %s", numbers(ports))
	for _, p := range managementPorts {
		if !slices.Contains(ports, p) {
			r.add("management", Warning, fmt.Sprintf("nobody listens on management port %d", p), "the port by which administrators really come may be limited like others",
				"name it with --management-ports")
		}
	}
}

// listening reads /proc/net/tcp: local address in hexadecimal, and state 0A for LISTEN.
func listening(table string) (ports []uint16) {
	const listen = "0A"
	for lines := bufio.NewScanner(strings.NewReader(table)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != listen {
			continue
		}
		address, port, _ := strings.Cut(fields[1], ":")
		n, err := strconv.ParseUint(port, 16, 16)
		if err != nil || loopback(address) {
			continue
		}
		ports = append(ports, uint16(n))
	}
	return ports
}

// loopback: 127.0.0.0/8 and ::1, each four bytes in the host's order, here little-endian.
func loopback(address string) bool {
	return len(address) == 8 && strings.HasSuffix(address, "7F") || address == "00000000000000000000000001000000"
}

const mostPorts = 20

func numbers(ports []uint16) string {
	var b strings.Builder
	for i, p := range ports {
		if i == mostPorts {
			fmt.Fprintf(&b, ", … (%d in all)", len(ports))
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, p)
	}
	return b.String()
}
