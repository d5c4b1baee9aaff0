package sensor

import (
	"math"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/wire"
)

// observation is all that a payload of metrics/network is made from.
type observation struct {
	now      time.Time
	interval time.Duration     // since the last report
	counted  datapath.Counters // in the interval
	syns     uint64            // in the last span
	early    bool
	seconds  []wire.Second
	flood    bool   // syns are over the early-report level
	discards uint64 // by the network card, in the interval
	control  datapath.Control
	top      []datapath.SourceRate
	tcp      hoststats.TCP
	tcpKnown bool // else tcp is what was known last
}

// network puts an observation into the wire's words.
func (c Config) network(o observation) wire.Network {
	n := wire.Network{
		ActiveTCPConnections: o.tcp.Established,
		SYNPacketCount:       o.syns,
		Timestamp:            wire.Timestamp(o.now),
		Early:                o.early,
		Interface:            c.Interface,
		Tier:                 c.Tier,
		Limiter:              o.control.Limiter,
		Mode:                 wire.ModeObserve,
		IntervalSeconds:      round(o.interval.Seconds()),
		Rates:                rates(&o.counted, o.interval),
		Verdicts:             verdicts(&o.counted),
		Drops:                byReason(&o.counted, datapath.VerdictDrop),
		WouldDrop:            byReason(&o.counted, datapath.VerdictWouldDrop),
		Challenged:           byReason(&o.counted, datapath.VerdictTX),
		NICDiscards:          o.discards,
		BeyondHost:           o.discards > 0 && (o.flood || o.counted.OverLimit()), // floods of other classes than SYN show by that,
		Challenging:          o.control.Challenging,
		ChallengeStarts:      o.control.ChallengeStarts,
		Seconds:              o.seconds,
	}
	if o.control.Enforcing() {
		n.Mode = wire.ModeEnforce
		n.LeaseSeconds = round(o.control.Lease.Seconds())
	}
	for _, s := range o.top {
		n.TopSources = append(n.TopSources, source(s))
	}
	if o.tcpKnown {
		n.TCP = &wire.TCPHealth{
			ListenOverflows:  o.tcp.ListenOverflows,
			ListenDrops:      o.tcp.ListenDrops,
			SyncookiesSent:   o.tcp.SyncookiesSent,
			SyncookiesRecv:   o.tcp.SyncookiesRecv,
			SyncookiesFailed: o.tcp.SyncookiesFailed,
		}
	}
	return n
}

// rates has every class, those without packets too, and none if no time has passed.
func rates(counted *datapath.Counters, interval time.Duration) map[string]wire.Rate {
	if interval <= 0 {
		return nil
	}
	m := make(map[string]wire.Rate, datapath.NumClasses)
	for class := range datapath.NumClasses {
		offered := counted.Offered(class)
		m[class.String()] = wire.Rate{
			PacketsPerSecond: round(float64(offered.Packets) / interval.Seconds()),
			BytesPerSecond:   round(float64(offered.Bytes) / interval.Seconds()),
		}
	}
	return m
}

// verdicts has the classes that packets came of, nil if there are none.
func verdicts(counted *datapath.Counters) map[string]wire.Verdicts {
	var m map[string]wire.Verdicts
	for class := range datapath.NumClasses {
		sum := func(v datapath.Verdict) uint64 { return counted.Judged(class, v).Packets }
		v := wire.Verdicts{
			Passed: sum(datapath.VerdictPass), WouldDrop: sum(datapath.VerdictWouldDrop),
			Dropped: sum(datapath.VerdictDrop), Challenged: sum(datapath.VerdictTX),
		}
		if v == (wire.Verdicts{}) {
			continue
		}
		if m == nil {
			m = map[string]wire.Verdicts{}
		}
		m[class.String()] = v
	}
	return m
}

// byReason has the reasons that packets met with a verdict for, nil if there are none.
func byReason(counted *datapath.Counters, v datapath.Verdict) map[string]uint64 {
	var m map[string]uint64
	for reason := range datapath.NumReasons {
		if n := counted.Total(v, reason).Packets; n > 0 {
			if m == nil {
				m = map[string]uint64{}
			}
			m[reason.String()] = n
		}
	}
	return m
}

func source(s datapath.SourceRate) wire.Source {
	name := s.Source.String()
	if s.Source.IsSingleIP() {
		name = s.Source.Addr().String()
	}
	return wire.Source{Source: name, SYNsPerSecond: round(s.SYNsPerSecond), Limited: s.Limited}
}

// round keeps two digits after the point: people read this.
func round(x float64) float64 { return math.Round(100*x) / 100 }
