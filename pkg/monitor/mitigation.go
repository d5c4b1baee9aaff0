package monitor

import (
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Request is a command to be sent.
type Request struct {
	ID, Command, Reason string
}

// Decision is what mitigation makes of an event: commands to send, and a remark for the log, empty for none.
type Decision struct {
	Send []Request
	Note string
}

// Mitigation decides which commands to send. It is pure: the time is an argument.
//
// It asks for rate limiting while a SYN or connections alert stands, until the controller says that it is on, and asks
// to end it once the offered SYNs have been calm for long enough, if the limit is its own. It never works against an
// operator: a limit that another origin set is left alone, and one that another origin switched off stays off until
// the traffic alerts have cleared.
//
// Whose the limit is it learns from the controller's status, which is retained: a monitor that was restarted goes on
// with the duty of the one before. Silence is no calm: only samples that keep arriving count.
type Mitigation struct {
	cfg      Config
	idPrefix string
	ids      uint64

	raised [numMetrics]bool
	scaled [numMetrics]time.Time // when scaling was asked for last
	load   load

	last  wire.Status // a reconnect brings it again
	on    bool        // what the controller said last
	owner string      // of the limit in force
	held  bool        // an operator switched it off

	calmSince, calmLast time.Time
	pending             *pending
	asked               time.Time // when rate limiting was asked for last
}

// pending is a rate limiting command that the controller hasn't confirmed.
type pending struct {
	Request
	due  time.Time // when to send it again
	wait time.Duration
}

// resendAfterLoss: the broker is away, so nothing is spared by waiting long.
const resendAfterLoss = time.Second

// NewMitigation needs a validated configuration and a prefix that makes the IDs of its commands unique.
func NewMitigation(cfg Config, idPrefix string) *Mitigation {
	return &Mitigation{cfg: cfg, idPrefix: idPrefix}
}

// Alert takes what became of a metric's alert.
func (m *Mitigation) Alert(now time.Time, of metric, e Event) Decision {
	m.raised[of] = e.State != wire.AlertCleared
	switch {
	case e.State == wire.AlertCleared:
		if !m.flooded() && m.isPending(wire.EnableRateLimiting) {
			m.pending = nil
		}
		return Decision{}
	case !of.traffic():
		return m.scale(now, of, e)
	}
	return m.enable(now, because(of, e))
}

// scale is asked for rarely and never repeated for want of an answer: each command may add a server.
func (m *Mitigation) scale(now time.Time, of metric, e Event) Decision {
	if last := m.scaled[of]; e.State == wire.AlertReminder && !last.IsZero() && now.Sub(last) < m.cfg.ScaleEvery {
		return Decision{}
	}
	m.scaled[of] = now
	return Decision{Send: []Request{m.request(wire.ScaleUpServers, because(of, e))}}
}

// enable asks for rate limiting unless an operator wants something else.
func (m *Mitigation) enable(now time.Time, reason string) Decision {
	switch {
	case m.held:
		return Decision{Note: "rate limiting is wanted, but an operator switched it off: left off until the alert clears"}
	case m.on && !m.ours() && m.owner != controllerOrigin:
		return Decision{Note: fmt.Sprintf("rate limiting is on by %s: left as it is", named(m.owner))}
	}
	return m.send(now, wire.EnableRateLimiting, reason)
}

func (m *Mitigation) send(now time.Time, command, reason string) Decision {
	r := m.request(command, reason)
	m.pending = &pending{Request: r, due: now.Add(m.cfg.StatusTimeout), wait: m.cfg.StatusTimeout}
	m.asked = now
	return Decision{Send: []Request{r}}
}

// SYNs takes whether a sample of the offered SYNs was below the clear level. Early samples can end calm, not begin or
// prolong it: they don't come at regular intervals.
func (m *Mitigation) SYNs(now time.Time, below, early bool) Decision {
	if !below {
		m.calmSince = time.Time{}
		return Decision{}
	}
	if early {
		return Decision{}
	}
	if m.calmSince.IsZero() || now.Before(m.calmLast) || now.Sub(m.calmLast) > m.cfg.silence() {
		m.calmSince = now
	}
	m.calmLast = now
	if m.flooded() {
		return Decision{}
	}
	m.held = false
	if !m.calm(now) || !m.on || !m.ours() || m.isPending(wire.DisableRateLimiting) {
		return Decision{}
	}
	return m.send(now, wire.DisableRateLimiting, fmt.Sprintf("SYNs below the clear level for %v", m.cfg.Calm))
}

// quiet tells whether nothing speaks for limiting now: what an operator switches off then says nothing about a flood to
// come.
func (m *Mitigation) quiet(now time.Time) bool {
	return !m.flooded() && !m.calmSince.IsZero() && now.Sub(m.calmLast) <= m.cfg.silence()
}

// calm tells whether SYNs have been low for long enough, by samples up to now.
func (m *Mitigation) calm(now time.Time) bool {
	return !m.calmSince.IsZero() && m.calmLast.Sub(m.calmSince) >= m.cfg.Calm && now.Sub(m.calmLast) <= m.cfg.silence()
}

// Status takes what the controller says about rate limiting. The owner is whose limit is in force, if it says so.
func (m *Mitigation) Status(now time.Time, s wire.Status) Decision {
	mine := m.pending != nil && m.pending.ID == s.ID
	if s.Status == wire.Failure && mine {
		return Decision{Note: fmt.Sprintf("the controller could not do %s: %s", s.Command, wire.Describe([]byte(s.Detail)))}
	}
	m.learn(s)
	if m.settled() {
		m.pending = nil
	}
	news := s != m.last
	if s.Again { // for those who weren't there
		was := m.last
		was.Timestamp, was.Until, was.Again = s.Timestamp, s.Until, true
		news = s != was
		s.Again = false
	}
	m.last = s
	operator := news && s.Status == wire.Success && s.Origin != m.cfg.Origin && s.Origin != controllerOrigin
	if operator && s.Command == wire.DisableRateLimiting && s.State == wire.StateOff {
		m.held, m.pending = !m.quiet(now), nil
		if m.flooded() {
			return Decision{Note: fmt.Sprintf("rate limiting was switched off by %s: left off until the alert clears", named(s.Origin))}
		}
		return Decision{}
	}
	if operator && s.State == wire.StateOn {
		m.held = false
	}
	if s.State == wire.StateOff && m.flooded() && !m.held && m.pending == nil {
		return m.again(now)
	}
	return Decision{}
}

// again asks for a limit that ended too soon: at once, but not in step with a status that keeps changing.
func (m *Mitigation) again(now time.Time) Decision {
	const reason = "rate limiting ended while the alert stands"
	if since := now.Sub(m.asked); since >= m.cfg.StatusTimeout || since < 0 {
		return m.send(now, wire.EnableRateLimiting, reason)
	}
	m.pending = &pending{
		Request: m.request(wire.EnableRateLimiting, reason),
		due:     m.asked.Add(m.cfg.StatusTimeout),
		wait:    m.cfg.StatusTimeout,
	}
	return Decision{}
}

// learn notes the state and whose it is. A status about something else, a failed command of another, says that the
// limit is on, but not by itself whose it is.
func (m *Mitigation) learn(s wire.Status) {
	switch s.State {
	case wire.StateOff:
		m.on, m.owner = false, ""
	case wire.StateOn:
		switch {
		case s.Owner != "" && s.Owner != controllerOrigin:
			m.owner = s.Owner
		case s.Status == wire.Success && s.Command == wire.EnableRateLimiting && s.Origin != controllerOrigin:
			m.owner = s.Origin
		case !m.on:
			m.owner = controllerOrigin // nobody's that we know of
		}
		m.on = true
	}
}

// settled tells whether what was asked for is so.
func (m *Mitigation) settled() bool {
	return m.isPending(wire.EnableRateLimiting) && m.on && m.owner != controllerOrigin ||
		m.isPending(wire.DisableRateLimiting) && !(m.on && m.ours())
}

// Tick sends again what has had no success, less and less often.
func (m *Mitigation) Tick(now time.Time) Decision {
	p := m.pending
	if p == nil || now.Before(p.due) {
		return Decision{}
	}
	wanted := m.flooded() && !m.held
	if p.Command == wire.DisableRateLimiting {
		wanted = !m.flooded() && m.calm(now)
	}
	if !wanted {
		m.pending = nil
		return Decision{}
	}
	p.wait = min(2*p.wait, max(m.cfg.RemindEvery, m.cfg.StatusTimeout))
	p.due, m.asked = now.Add(p.wait), now
	return Decision{Send: []Request{p.Request}, Note: fmt.Sprintf("%s was not confirmed: sent again. Does weir controller run?", p.Command)}
}

// Lost takes that a command didn't reach the broker.
func (m *Mitigation) Lost(now time.Time, id string) {
	if m.pending != nil && m.pending.ID == id {
		m.pending.due, m.pending.wait = now.Add(resendAfterLoss), m.cfg.StatusTimeout
	}
}

func (m *Mitigation) request(command, reason string) Request {
	m.ids++
	return Request{ID: fmt.Sprintf("%s-%d", m.idPrefix, m.ids), Command: command, Reason: reason}
}

func (m *Mitigation) isPending(command string) bool {
	return m.pending != nil && m.pending.Command == command
}

func (m *Mitigation) ours() bool { return m.owner == m.cfg.Origin }

// flooded tells whether an alert stands that rate limiting answers.
func (m *Mitigation) flooded() bool { return m.raised[metricSYN] || m.raised[metricConnections] }

func because(of metric, e Event) string {
	return fmt.Sprintf("%s: %s %.6g, level %.6g (%s)", alertTexts[of], of, e.Value, e.Level, e.Cause)
}

func named(origin string) string {
	if origin == "" {
		return "an operator"
	}
	return wire.Describe([]byte(origin))
}
