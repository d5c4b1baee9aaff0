package sensor

import (
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// begin notes where counting stands. A datapath that was adopted has counted before: that is nobody's news.
func (s *Sensor) begin(now time.Time) error {
	counters, err := s.datapath.Counters()
	if err != nil {
		return unreadable(err)
	}
	s.window.add(now, counters.Offered(datapath.ClassSYN).Packets)
	s.seconds.add(now, &counters)
	s.rated(now, &counters)
	s.reported = sampled{now, counters}
	s.next = now.Add(s.cfg.Interval)
	if _, err := s.host.CPU(); err != nil { // it measures from here on
		s.complaints.Warn(now, "no CPU usage", "err", err)
	}
	if _, err := s.card.Discards(); err != nil { // likewise
		s.complaints.Warn(now, "the network card's discards can't be read", "err", err)
	}
	return s.refreshTop(now)
}

func unreadable(err error) error { return fmt.Errorf("read the datapath: %w", err) }

// sample is one tick. Most end after the early report's check, without an allocation.
func (s *Sensor) sample(now time.Time) error {
	counters, err := s.datapath.Counters()
	if err != nil {
		return unreadable(err)
	}
	denied := s.denied.Load() || s.cfg.Deaf && now.Sub(s.presence.last) >= deafPause
	if s.presence.due(now, s.bus.Connected(), denied) {
		s.denied.Store(false)
		s.publishPresence(now, wire.Online)
	}
	s.seconds.add(now, &counters)
	syns := s.window.add(now, counters.Offered(datapath.ClassSYN).Packets)
	s.known.SYNs = syns
	if s.missed.Swap(false) {
		s.early.missed()
	}
	early := s.early.due(now, syns)
	regular := s.next.Sub(now) < sampleEvery/2 // the nearest tick

	s.ticks++
	if s.ticks%samplesPerSecond == 0 {
		s.rated(now, &counters)
	}
	if early || regular || s.ticks%samplesPerTop == 0 {
		if err := s.refreshTop(now); err != nil {
			return err
		}
	}
	if regular {
		s.reportHost(now)
		s.next = s.next.Add(s.cfg.Interval)
		if s.next.Before(now) { // after a long stop: don't make up for it
			s.next = now.Add(s.cfg.Interval)
		}
	}
	if early || regular {
		return s.reportNetwork(now, counters, syns, early)
	}
	return nil
}

func (s *Sensor) refreshTop(now time.Time) (err error) {
	if s.cfg.TopSources == 0 {
		return nil
	}
	if s.top, err = s.datapath.TopSources(now, s.cfg.TopSources); err != nil {
		return unreadable(err)
	}
	return nil
}

// reportHost leaves out what can't be read: nothing is better than a wrong number, and the next may do.
func (s *Sensor) reportHost(now time.Time) {
	at := wire.Timestamp(now)
	if x, err := s.host.CPU(); err != nil {
		s.complaints.Warn(now, "no CPU usage", "err", err)
	} else {
		s.known.CPU = x
		s.post(message{topic: s.cfg.Root.MetricsCPU(), value: wire.CPU{Usage: round(x), Timestamp: at}})
	}
	if x, err := s.host.RAM(); err != nil {
		s.complaints.Warn(now, "no RAM usage", "err", err)
	} else {
		s.known.RAM = x
		s.post(message{topic: s.cfg.Root.MetricsRAM(), value: wire.RAM{Usage: round(x), Timestamp: at}})
	}
}

func (s *Sensor) reportNetwork(now time.Time, counters datapath.Counters, syns uint64, early bool) error {
	control, err := s.datapath.Control()
	if err != nil {
		return unreadable(err)
	}
	tcp, err := s.host.TCP()
	if err != nil {
		s.complaints.Warn(now, "no TCP health: the number of connections stays as it was", "err", err)
	} else {
		s.tcp = tcp
	}
	discards, cardErr := s.card.Discards()
	if cardErr != nil {
		s.complaints.Warn(now, "the network card's discards can't be read", "err", cardErr)
	}
	network := s.cfg.network(observation{
		now:      now,
		interval: now.Sub(s.reported.at),
		counted:  counters.Sub(&s.reported.counters),
		syns:     syns,
		early:    early,
		seconds:  s.seconds.report(!early),
		flood:    s.cfg.EarlyReport > 0 && syns > s.cfg.EarlyReport,
		discards: discards,
		control:  control,
		top:      s.top,
		tcp:      s.tcp,
		tcpKnown: err == nil,
	})
	s.known.NICDiscards += discards
	s.known.BeyondHost = network.BeyondHost
	s.post(message{topic: s.cfg.Root.MetricsNetwork(), early: early, value: network})
	s.reported = sampled{now, counters}
	return nil
}
