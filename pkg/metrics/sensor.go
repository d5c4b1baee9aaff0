package metrics

import (
	"context"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/sensor"
	"github.com/weir-sensor/weir/pkg/wire"
)

var (
	packets = serverCounter("packets_total", "Packets, by what they are, what became of them and why.", "class", "verdict", "reason")
	octets  = serverCounter("packet_bytes_total", "Bytes of packets, Ethernet headers included.", "class", "verdict")
	rates   = serverGauge("offered_packets_per_second", "Packets that arrived, before any drop, over the last second.", "class")
	syns    = serverGauge("syn_window_packets", "SYNs that arrived in the last five seconds, before any drop: syn_packet_count.")

	mode            = serverGauge("mode", "Whether weir is in a mode: 1 for the one it is in.", "mode")
	lease           = serverGauge("lease_seconds", "Time until enforcement ends by itself; 0 in observe mode.")
	limitRate       = serverGauge("limit_syns_per_second", "SYNs per second that each source may send while limiting is on.")
	limitBurst      = serverGauge("limit_burst_syns", "SYNs that each source may send at once while limiting is on.")
	attachTier      = serverGauge("attach_tier", "How packets are counted: 1 for the tier in use, of several interfaces' the worst.", "tier")
	attached        = serverGauge("interface_info", "The interfaces that are guarded; always 1.", "interface", "tier")
	challenging     = serverGauge("challenging", "Whether SYNs to listeners are answered by SYN cookies now.")
	challengeStarts = serverCounter("challenge_starts_total", "How often SYNs began to be challenged without a command.")

	nicDiscards = serverCounter("nic_discards_total", "Packets that the network card discarded before the host saw them, since the sensor's start.")
	beyondHost  = serverGauge("beyond_host", "Whether the network card discards packets during a flood: no setting of this host helps.")

	cpuUsage        = serverGauge("cpu_usage_ratio", "Part of all cores that was busy.")
	ramUsage        = serverGauge("ram_usage_ratio", "Part of the RAM that is in use.")
	tcpConnections  = serverGauge("tcp_connections", "TCP connections that are established.")
	listenOverflows = serverCounter("tcp_listen_overflows_total", "Handshakes that found a listener's accept queue full.")
	listenDrops     = serverCounter("tcp_listen_drops_total", "SYNs and handshakes that listeners dropped.")
	syncookies      = serverCounter("tcp_syncookies_total", "SYN cookies of the kernel, by what became of them.", "event")
	reportsLost     = serverCounter("sensor_reports_lost_total", "Messages of the sensor that didn't get out.")
)

// Sensor exports a sensor's, and the interfaces it guards, by name and tier.
func (e *Exporter) Sensor(stats func(context.Context) (sensor.Stats, error), tier string, tiers []string, interfaces map[string]string) {
	e.add("sensor", func(ctx context.Context, emit send) error {
		for _, t := range tiers {
			emit(attachTier, flag(t == tier), t)
		}
		for name, t := range interfaces {
			emit(attached, 1, name, t)
		}
		s, err := stats(ctx)
		if err != nil {
			return err
		}
		counted(emit, &s.Counters)
		for class, pps := range s.Rates {
			emit(rates, pps, datapath.Class(class).String())
		}
		emit(syns, float64(s.SYNs))
		controlled(emit, s.Control)
		emit(nicDiscards, float64(s.NICDiscards))
		emit(beyondHost, flag(s.BeyondHost))
		emit(cpuUsage, s.CPU/100)
		emit(ramUsage, s.RAM/100)
		emit(tcpConnections, float64(s.TCP.Established))
		emit(listenOverflows, float64(s.TCP.ListenOverflows))
		emit(listenDrops, float64(s.TCP.ListenDrops))
		emit(syncookies, float64(s.TCP.SyncookiesSent), "sent")
		emit(syncookies, float64(s.TCP.SyncookiesRecv), "received")
		emit(syncookies, float64(s.TCP.SyncookiesFailed), "failed")
		emit(reportsLost, float64(s.Lost))
		return nil
	})
}

// counted sends zeros as well, where they may become more: a rate can be made of a series only from its second value on.
func counted(emit send, c *datapath.Counters) {
	for class := range datapath.NumClasses {
		for verdict := range datapath.NumVerdicts {
			for reason := range datapath.NumReasons {
				if n := c[class][verdict][reason].Packets; n > 0 || usual(class, verdict, reason) {
					emit(packets, float64(n), class.String(), verdict.String(), reason.String())
				}
			}
			emit(octets, float64(c.Judged(class, verdict).Bytes), class.String(), verdict.String())
		}
	}
}

// usual tells which reasons go with which verdict.
func usual(class datapath.Class, v datapath.Verdict, r datapath.Reason) bool {
	switch r {
	case datapath.ReasonNone, datapath.ReasonMalformed, datapath.ReasonUntracked, datapath.ReasonAllowed, datapath.ReasonManagement, datapath.ReasonReply:
		return v == datapath.VerdictPass
	}
	return v == datapath.VerdictDrop || v == datapath.VerdictWouldDrop || v == datapath.VerdictTX && class == datapath.ClassSYN
}

func controlled(emit send, c datapath.Control) {
	emit(mode, flag(!c.Enforcing()), wire.ModeObserve)
	emit(mode, flag(c.Enforcing()), wire.ModeEnforce)
	left := 0.0
	if c.Enforcing() {
		left = c.Lease.Seconds()
	}
	emit(lease, left)
	emit(limitRate, float64(c.Limit.Rate))
	emit(limitBurst, float64(c.Limit.Burst))
	emit(challenging, flag(c.Challenging))
	emit(challengeStarts, float64(c.ChallengeStarts))
}
