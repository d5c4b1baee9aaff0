package sensor

import (
	"context"
	"errors"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
)

// Stats are what a sensor knows now.
type Stats struct {
	Counters datapath.Counters
	Control  datapath.Control
	Rates    [datapath.NumClasses]float64 // packets per second offered, over the last second
	SYNs     uint64                       // offered in the last five seconds
	TCP      hoststats.TCP

	CPU, RAM float64 // percent, as reported last

	NICDiscards uint64 // by the network card since the sensor's start, as reported last
	BeyondHost  bool   // likewise
	Lost        uint64 // messages that didn't get out
}

// ErrBusy is that the sensor doesn't answer: it should within microseconds.
var ErrBusy = errors.New("the sensor doesn't answer")

// Stats reads the datapath and adds what is known already. It may be called from any goroutine while Run runs; the work is that of
// the sampling one, and doesn't depend on the number of sources. It returns ErrBusy when ctx ends before there is an answer.
func (s *Sensor) Stats(ctx context.Context) (Stats, error) {
	reply := make(chan answer, 1)
	select {
	case s.asked <- reply:
	case <-ctx.Done():
		return Stats{}, ErrBusy
	}
	select {
	case a := <-reply:
		return a.stats, a.err
	case <-ctx.Done():
		return Stats{}, ErrBusy
	}
}

type answer struct {
	stats Stats
	err   error
}

// stats is the sampling goroutine's.
func (s *Sensor) stats() (a answer) {
	a.stats = s.known
	if a.stats.Counters, a.err = s.datapath.Counters(); a.err != nil {
		return a
	}
	if a.stats.Control, a.err = s.datapath.Control(); a.err != nil {
		return a
	}
	if tcp, err := s.host.TCP(); err == nil {
		s.tcp = tcp
	}
	a.stats.TCP, a.stats.Lost = s.tcp, s.lostCount.Load()
	return a
}

// rated notes the rates of the second that has just passed.
func (s *Sensor) rated(now time.Time, c *datapath.Counters) {
	span := now.Sub(s.second.at).Seconds()
	for class := range datapath.NumClasses {
		n := c.Offered(class).Packets
		if was := s.second.offered[class]; span > 0 && n >= was {
			s.known.Rates[class] = float64(n-was) / span
		}
		s.second.offered[class] = n
	}
	s.second.at = now
}

// second is what was counted of each class by when.
type second struct {
	at      time.Time
	offered [datapath.NumClasses]uint64
}
