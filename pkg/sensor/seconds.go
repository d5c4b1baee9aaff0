package sensor

import (
	"slices"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// maxSeconds is the most that a report tells, whatever its interval: five seconds by default.
const maxSeconds = 60

// seconds are the SYNs of each second since the last regular report. The zero value is ready.
type seconds struct {
	last sampled
	all  []wire.Second
}

// add takes a sample; about once a second it makes a row of what was counted since the last one.
func (s *seconds) add(now time.Time, c *datapath.Counters) {
	past := now.Sub(s.last.at)
	if s.last.at.IsZero() || c.Offered(datapath.ClassSYN).Packets < s.last.counters.Offered(datapath.ClassSYN).Packets {
		s.last = sampled{now, *c} // the first, or another datapath's
		return
	}
	if past < time.Second-sampleEvery/2 {
		return
	}
	counted := c.Sub(&s.last.counters)
	per := func(n datapath.Count) float64 { return round(float64(n.Packets) / past.Seconds()) }
	s.all = append(s.all, wire.Second{
		Timestamp:  wire.Timestamp(now),
		Offered:    per(counted.Offered(datapath.ClassSYN)),
		Dropped:    per(counted.Judged(datapath.ClassSYN, datapath.VerdictDrop)),
		Challenged: per(counted.Judged(datapath.ClassSYN, datapath.VerdictTX)),
	})
	if len(s.all) > maxSeconds {
		s.all = s.all[1:]
	}
	s.last = sampled{now, *c}
}

// report gives the rows for a report; a regular one has told them for good.
func (s *seconds) report(regular bool) []wire.Second {
	all := slices.Clone(s.all)
	if regular {
		s.all = nil
	}
	return all
}
