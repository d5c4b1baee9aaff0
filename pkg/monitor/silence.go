package monitor

import (
	"log/slog"
	"time"
)

// silence says when a sensor that was heard falls silent, and when it is back. Alerts stand as they are meanwhile.
type silence struct {
	limit time.Duration
	last  time.Time
	said  bool
}

func (s *silence) heard(now time.Time, log *slog.Logger) {
	if s.said {
		log.Info("the sensor is back", "silent", now.Sub(s.last).Round(time.Second))
	}
	s.last, s.said = now, false
}

func (s *silence) tick(now time.Time, log *slog.Logger) {
	if s.said || s.last.IsZero() || now.Sub(s.last) <= s.limit {
		return
	}
	s.said = true
	log.Warn("the sensor is silent: alerts and rate limiting stay as they are. Does weir sensor run?",
		"silent", now.Sub(s.last).Round(time.Second))
}
