package monitor

import (
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// load is what is known of the servers that were added for want of CPU or RAM.
type load struct {
	added       int // by this monitor's commands and there still, as the controller says
	since, last [numMetrics]time.Time
	asked       time.Time // when one was to be taken away last
}

// Load takes whether a sample of CPU or RAM was below the clear level. After a calm while it has one server taken away, and the next one
// after scale-every, as long as there are any that its own commands have added: never an operator's.
func (m *Mitigation) Load(now time.Time, of metric, below bool) Decision {
	l := &m.load
	if !below {
		l.since[of] = time.Time{}
		return Decision{}
	}
	if l.since[of].IsZero() || now.Before(l.last[of]) || now.Sub(l.last[of]) > m.cfg.silence() {
		l.since[of] = now
	}
	l.last[of] = now
	if l.added == 0 || m.strained(now) {
		return Decision{}
	}
	if since := now.Sub(l.asked); !l.asked.IsZero() && since >= 0 && since < m.cfg.ScaleEvery {
		return Decision{}
	}
	l.asked = now
	return Decision{Send: []Request{m.request(wire.ScaleDownServers, fmt.Sprintf("CPU and RAM below the clear level for %v", m.cfg.ScaleCalm))}}
}

// strained tells whether the servers may still be needed: an alert stands, or CPU or RAM weren't calm for long enough by samples that keep
// arriving.
func (m *Mitigation) strained(now time.Time) bool {
	for of := range numMetrics {
		if m.raised[of] {
			return true
		}
		calm := m.load.last[of].Sub(m.load.since[of]) >= m.cfg.ScaleCalm && now.Sub(m.load.last[of]) <= m.cfg.silence()
		if !of.traffic() && (m.load.since[of].IsZero() || !calm) {
			return true
		}
	}
	return false
}

// Scaling takes what the controller says about servers. It is retained, so that a monitor that was restarted knows what is to be undone.
func (m *Mitigation) Scaling(s wire.Status) {
	if s.Servers != nil {
		m.load.added = max(0, s.Servers.Added[m.cfg.Origin])
	}
}
