package monitor

import "time"

// Stats are what a monitor knows now.
type Stats struct {
	Heard  time.Time // of the sensor last; zero for never
	Silent bool      // the sensor was heard, and isn't any more
	Alerts []AlertStats
	Sent   map[string]uint64 // commands, by name
}

// AlertStats are one alert's.
type AlertStats struct {
	Metric string
	Raised bool
	Times  uint64  // it was raised
	Value  float64 // of the last sample
	Level  float64 // over which it is raised now: the threshold, or a spike's if that is lower; 0 for none
	Normal float64 // as was learned, 0 while it isn't known
}

// Stats may be called from any goroutine.
func (m *Monitor) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Stats{Heard: m.silence.last, Silent: m.silence.said, Sent: map[string]uint64{}}
	for name, n := range m.sent {
		s.Sent[name] = n
	}
	for of := range numMetrics {
		d := m.detectors[of]
		s.Alerts = append(s.Alerts, AlertStats{
			Metric: of.String(), Raised: d.Raised(), Times: m.times[of.String()], Value: m.values[of],
			Level: min(d.cfg.Threshold, d.spikeLevel()), Normal: d.Normal(),
		})
	}
	s.Alerts = append(s.Alerts, AlertStats{
		Metric: metricRefused, Raised: !m.forged.since.IsZero(), Times: m.times[metricRefused], Value: float64(m.forged.count),
	})
	return s
}
