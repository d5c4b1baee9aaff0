package hoststats

import (
	"errors"
	"fmt"

	"github.com/prometheus/procfs"
)

// TCP is the kernel's own view of TCP. All but Established count up since the network namespace was made.
//
// SYN_RECV is left out: the kernel keeps no count of half-open connections. /proc/net/tcp and sock_diag walk the whole
// hash table of connections to find them, which costs most when a flood has filled it.
type TCP struct {
	Established int // connections that are ESTABLISHED or CLOSE_WAIT now

	ListenOverflows  uint64 // handshakes completed that found the accept queue full
	ListenDrops      uint64 // SYNs and handshakes that a listener dropped, overflows included
	SyncookiesSent   uint64
	SyncookiesRecv   uint64 // valid ones that came back
	SyncookiesFailed uint64 // invalid ones
}

// TCP reads counters that the kernel keeps per CPU: the time it takes doesn't depend on the number of connections.
func (h *Host) TCP() (TCP, error) {
	self, err := procfs.Self()
	if err != nil {
		return TCP{}, fmt.Errorf("find this process in /proc: %w: is it mounted?", err)
	}
	snmp, err := self.Snmp()
	if err != nil {
		return TCP{}, fmt.Errorf("read /proc/net/snmp: %w", err)
	}
	netstat, err := self.Netstat()
	if err != nil {
		return TCP{}, fmt.Errorf("read /proc/net/netstat: %w", err)
	}
	if snmp.CurrEstab == nil {
		return TCP{}, errors.New("/proc/net/snmp has no CurrEstab: is this Linux's own /proc?")
	}
	return TCP{
		Established:      int(count(snmp.CurrEstab)),
		ListenOverflows:  count(netstat.ListenOverflows),
		ListenDrops:      count(netstat.ListenDrops),
		SyncookiesSent:   count(netstat.SyncookiesSent),
		SyncookiesRecv:   count(netstat.SyncookiesRecv),
		SyncookiesFailed: count(netstat.SyncookiesFailed),
	}, nil
}

// count is 0 for what a kernel built without it leaves out. The sum over CPUs may be below zero for a moment, when one
// has counted a connection's end and another not yet its begin.
func count(x *float64) uint64 {
	if x == nil || *x < 0 {
		return 0
	}
	return uint64(*x)
}
