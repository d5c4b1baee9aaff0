package web

import (
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Condition is what a server's state comes to, in the header's words.
type Condition string

// The conditions, the most urgent first.
const (
	Waiting     Condition = "waiting"     // nothing was heard of it yet
	Silent      Condition = "silent"      // its sensor was heard, but not lately
	BeyondHost  Condition = "beyond"      // the network card discards packets during a flood
	Challenging Condition = "challenging" // SYNs are answered by cookies
	Limiting    Condition = "limiting"    // and nobody is over a threshold, or all is held back
	UnderAttack Condition = "attack"      // SYNs or connections are over a threshold, and nothing is done about it
	Strained    Condition = "strained"    // CPU or RAM is over its threshold
	Calm        Condition = "calm"
)

// condition judges a server at a time, from what was heard last.
func (s *server) condition(now time.Time, interval time.Duration, t Thresholds) Condition {
	n := s.network
	over := func(x *float64, at time.Time, threshold float64) bool {
		return x != nil && *x > threshold && !late(at, now, interval)
	}
	switch {
	case s.heard.last().IsZero():
		return Waiting
	case late(s.heard.last(), now, interval), s.presence != nil && s.presence.State == wire.Offline:
		return Silent
	case n != nil && n.BeyondHost:
		return BeyondHost
	case n != nil && n.Challenging:
		return Challenging
	case n != nil && n.Mode == wire.ModeEnforce:
		return Limiting
	case s.attacked(t):
		return UnderAttack
	case s.raised("cpu_usage"), s.raised("ram_usage"), over(s.cpuUsage(), s.heard.cpu, t.CPU), over(s.ramUsage(), s.heard.ram, t.RAM):
		return Strained
	}
	return Calm
}

// attacked tells whether SYNs or connections are over a threshold: the monitor's word, or where there is none, the count itself.
func (s *server) attacked(t Thresholds) bool {
	if s.raised("syn_packet_count") || s.raised("active_tcp_connections") {
		return true
	}
	n := s.network
	return n != nil && (float64(n.SYNPacketCount) > t.SYNs || float64(n.ActiveTCPConnections) > t.Connections)
}

func (s *server) cpuUsage() *float64 {
	if s.cpu == nil {
		return nil
	}
	return &s.cpu.Usage
}

func (s *server) ramUsage() *float64 {
	if s.ram == nil {
		return nil
	}
	return &s.ram.Usage
}

func (s *server) raised(metric string) bool {
	a := s.alerts[metric]
	return a != nil && a.State != wire.AlertCleared
}
