package monitor

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// play is a mitigation with a clock; each step returns the commands sent, short, e.g. "enable".
type play struct {
	t      *testing.T
	m      *Mitigation
	now    time.Time
	stamp  float64
	lastID string
}

func newPlay(t *testing.T) *play {
	return &play{t: t, m: NewMitigation(DefaultConfig(), "id"), now: time.Unix(1_700_000_000, 0)}
}

func (p *play) sent(d Decision) string {
	var out []string
	for _, r := range d.Send {
		p.lastID = r.ID
		out = append(out, strings.SplitN(r.Command, "_", 2)[0])
	}
	return strings.Join(out, " ")
}

func (p *play) wait(d time.Duration) { p.now = p.now.Add(d) }

func (p *play) alert(of metric, state string) string {
	return p.sent(p.m.Alert(p.now, of, Event{State: state, At: p.now, Value: 900, Level: 700, Cause: CauseThreshold}))
}

// status is one of the controller's, each with a time of its own.
func (p *play) status(s wire.Status, owner string) string {
	s = owned(s, owner)
	p.stamp++
	s.Timestamp = p.stamp
	return p.sent(p.m.Status(p.now, s))
}

func (p *play) on(origin string) string {
	return p.status(wire.Status{Command: wire.EnableRateLimiting, Status: wire.Success, Origin: origin, State: wire.StateOn}, "")
}

func (p *play) off(origin string) string {
	return p.status(wire.Status{Command: wire.DisableRateLimiting, Status: wire.Success, Origin: origin, State: wire.StateOff}, "")
}

// syns feeds regular samples for as long, and ticks each second; it returns all that was sent.
func (p *play) syns(below bool, long time.Duration) string {
	var out []string
	for i := time.Second; i <= long; i += time.Second {
		p.wait(time.Second)
		out = append(out, p.sent(p.m.Tick(p.now)))
		if i%(5*time.Second) == 0 {
			out = append(out, p.sent(p.m.SYNs(p.now, below, false)))
		}
	}
	return strings.Join(strings.Fields(strings.Join(out, " ")), " ")
}

func (p *play) expect(what, got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: sent %q, want %q", what, got, want)
	}
}

// flood raises, and has the controller confirm.
func (p *play) flood() {
	p.t.Helper()
	p.expect("raised", p.alert(metricSYN, wire.AlertRaised), "enable")
	p.expect("confirmed", p.on("monitor"), "")
}

func TestMitigationFromFloodToCalm(t *testing.T) {
	p := newPlay(t)
	p.flood()
	p.expect("flood", p.syns(false, 10*time.Minute), "")
	p.expect("reminder", p.alert(metricSYN, wire.AlertReminder), "enable")
	p.on("monitor")
	p.expect("before it cleared", p.syns(true, 15*time.Second), "")
	p.alert(metricSYN, wire.AlertCleared)
	p.expect("calm for less than a minute", p.syns(true, 45*time.Second), "")
	p.expect("calm for a minute", p.syns(true, 5*time.Second), "disable")
	p.expect("confirmed", p.off("monitor"), "")
	p.expect("and then", p.syns(true, time.Hour), "")
}

func TestMitigationResends(t *testing.T) {
	p := newPlay(t)
	p.expect("raised", p.alert(metricSYN, wire.AlertRaised), "enable")
	p.expect("no answer for four seconds", p.syns(false, 4*time.Second), "")
	p.expect("nor for five", p.syns(false, time.Second), "enable")
	p.expect("less and less often", p.syns(false, 10*time.Minute), strings.TrimSpace(strings.Repeat("enable ", 11)))
	p.status(wire.Status{Command: wire.EnableRateLimiting, Status: wire.Failure, ID: p.lastID, Origin: "monitor"}, "")
	p.expect("after a failure", p.syns(false, time.Minute), "enable")
	p.on("monitor")
	p.expect("after success", p.syns(false, 10*time.Minute), "")
}

func TestMitigationLostCommandGoesSoon(t *testing.T) {
	p := newPlay(t)
	p.alert(metricSYN, wire.AlertRaised)
	p.syns(false, time.Minute)
	p.m.Lost(p.now, p.lastID)
	p.expect("a second later", p.syns(false, time.Second), "enable")
}

func TestMitigationAStatusThatKeepsChangingSetsNoPace(t *testing.T) {
	p := newPlay(t)
	p.flood()
	n := 0
	for range 600 {
		p.wait(100 * time.Millisecond)
		for _, sent := range []string{p.off("controller"), p.on("monitor"), p.off("controller"), p.sent(p.m.Tick(p.now)), p.on("monitor")} {
			n += len(strings.Fields(sent))
		}
	}
	if n == 0 || n > 12 {
		t.Errorf("%d commands in a minute", n)
	}
}

func TestMitigationStopsAskingWhenCleared(t *testing.T) {
	p := newPlay(t)
	p.alert(metricSYN, wire.AlertRaised)
	p.alert(metricSYN, wire.AlertCleared)
	p.expect("cleared", p.syns(true, 10*time.Minute), "")
}

func TestMitigationSilenceIsNoCalm(t *testing.T) {
	p := newPlay(t)
	p.flood()
	p.alert(metricSYN, wire.AlertCleared)
	p.syns(true, 40*time.Second)
	p.wait(time.Hour)
	p.expect("silence", p.sent(p.m.Tick(p.now)), "")
	p.expect("after it", p.syns(true, 60*time.Second), "")
	p.expect("a minute after it", p.syns(true, 5*time.Second), "disable")
	p.wait(time.Hour)
	p.expect("silence after the request", p.sent(p.m.Tick(p.now)), "")
}

func TestMitigationEarlySamplesAreNoCalm(t *testing.T) {
	p := newPlay(t)
	p.flood()
	p.alert(metricSYN, wire.AlertCleared)
	for range 1000 {
		p.wait(time.Second)
		p.expect("early", p.sent(p.m.SYNs(p.now, true, true)), "")
	}
	p.syns(true, 55*time.Second)
	p.m.SYNs(p.now, false, true)
	p.expect("one early sample over begins anew", p.syns(true, 55*time.Second), "")
}

func TestMitigationConnectionsKeepTheLimit(t *testing.T) {
	p := newPlay(t)
	p.flood()
	p.expect("both", p.alert(metricConnections, wire.AlertRaised), "enable")
	p.on("monitor")
	p.alert(metricSYN, wire.AlertCleared)
	p.expect("connections still over", p.syns(true, 10*time.Minute), "")
	p.alert(metricConnections, wire.AlertCleared)
	p.expect("cleared too", p.syns(true, 5*time.Second), "disable")
}

func TestMitigationAfterItsOwnRestart(t *testing.T) {
	retained := wire.Status{Timestamp: 1, Command: wire.EnableRateLimiting, Status: wire.Success, Origin: "monitor", State: wire.StateOn}
	for _, c := range []struct {
		name   string
		status wire.Status
		owner  string
		want   string
	}{
		{"its own limit", retained, "", "disable"},
		{"its own, says the owner, though another's command failed since",
			wire.Status{Command: "dance", Status: wire.Failure, Origin: "bob", State: wire.StateOn}, "monitor", "disable"},
		{"another's", wire.Status{Command: wire.EnableRateLimiting, Status: wire.Success, Origin: "bob", State: wire.StateOn}, "bob", ""},
		{"an unknown one's", wire.Status{Command: wire.EnableRateLimiting, Status: wire.Success, Origin: "controller", State: wire.StateOn}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t)
			p.expect("retained", p.sent(p.m.Status(p.now, owned(c.status, c.owner))), "")
			p.expect("before a minute of calm", p.syns(true, time.Minute), "")
			p.expect("after it", p.syns(true, 5*time.Second), c.want)
		})
	}
}

func TestMitigationKeepsItsLimitWhenTheControllerRestarts(t *testing.T) {
	p := newPlay(t)
	p.flood()
	p.on("controller")
	p.status(wire.Status{Command: "dance", Status: wire.Failure, Origin: "bob", State: wire.StateOn}, "")
	p.alert(metricSYN, wire.AlertCleared)
	p.expect("still its own", p.syns(true, 65*time.Second), "disable")
}

func TestMitigationNeverFightsAnOperator(t *testing.T) {
	t.Run("who switches it off during the flood", func(t *testing.T) {
		p := newPlay(t)
		p.flood()
		p.expect("off", p.off("bob"), "")
		p.expect("reminder", p.alert(metricSYN, wire.AlertReminder), "")
		p.expect("connections", p.alert(metricConnections, wire.AlertRaised), "")
		p.expect("controller says off again", p.off("controller"), "")
		p.expect("flood", p.syns(false, time.Hour), "")
		p.alert(metricSYN, wire.AlertCleared)
		p.expect("one alert still stands", p.alert(metricSYN, wire.AlertRaised), "")
		p.alert(metricSYN, wire.AlertCleared)
		p.alert(metricConnections, wire.AlertCleared)
		p.syns(true, 5*time.Second)
		p.expect("next flood", p.alert(metricSYN, wire.AlertRaised), "enable")
	})
	t.Run("without a name", func(t *testing.T) {
		p := newPlay(t)
		p.flood()
		p.off("")
		p.expect("reminder", p.alert(metricSYN, wire.AlertReminder), "")
	})
	t.Run("who switched it off before this monitor started", func(t *testing.T) {
		p := newPlay(t)
		p.off("bob")
		p.expect("flood at the first sample", p.alert(metricSYN, wire.AlertRaised), "")
	})
	t.Run("but a flood after calm is another matter", func(t *testing.T) {
		p := newPlay(t)
		p.off("bob")
		p.syns(true, 5*time.Second)
		p.expect("flood", p.alert(metricSYN, wire.AlertRaised), "enable")
		s := wire.Status{Timestamp: p.stamp, Command: wire.DisableRateLimiting, Status: wire.Success, Origin: "bob", State: wire.StateOff}
		p.sent(p.m.Status(p.now, s))
		p.expect("the old status again, after a reconnect", p.alert(metricSYN, wire.AlertReminder), "enable")
		s.Timestamp, s.Again = p.stamp+100, true
		p.sent(p.m.Status(p.now, s))
		p.expect("told again to a new broker", p.alert(metricSYN, wire.AlertReminder), "enable")
	})
	t.Run("who switched it off before this monitor and its broker started", func(t *testing.T) {
		p := newPlay(t)
		p.status(wire.Status{Command: wire.DisableRateLimiting, Status: wire.Success, Origin: "bob", State: wire.StateOff, Again: true}, "")
		p.expect("flood at the first sample", p.alert(metricSYN, wire.AlertRaised), "")
	})
	t.Run("who switches it on", func(t *testing.T) {
		p := newPlay(t)
		p.on("bob")
		p.expect("raised", p.alert(metricSYN, wire.AlertRaised), "")
		p.alert(metricSYN, wire.AlertCleared)
		p.expect("calm", p.syns(true, 10*time.Minute), "")
	})
	t.Run("who takes its limit over", func(t *testing.T) {
		p := newPlay(t)
		p.flood()
		p.on("bob")
		p.expect("reminder", p.alert(metricSYN, wire.AlertReminder), "")
		p.alert(metricSYN, wire.AlertCleared)
		p.expect("calm", p.syns(true, 10*time.Minute), "")
	})
	t.Run("whose limit ended though the flood goes on", func(t *testing.T) {
		p := newPlay(t)
		p.on("bob")
		p.alert(metricSYN, wire.AlertRaised)
		p.expect("lease ended", p.off("controller"), "enable")
	})
}

func TestMitigationAnOperatorsOffInQuietTimesIsNoVeto(t *testing.T) {
	p := newPlay(t)
	p.syns(true, 10*time.Second)
	p.off("ctl")
	p.flood() // before the next regular sample
	p.off("ctl")
	p.expect("switched off during the flood", p.alert(metricSYN, wire.AlertReminder), "")
}

func TestMitigationScalesSparingly(t *testing.T) {
	p := newPlay(t)
	p.expect("CPU", p.alert(metricCPU, wire.AlertRaised), "scale")
	p.expect("RAM", p.alert(metricRAM, wire.AlertRaised), "scale")
	for range 4 {
		p.syns(true, time.Minute)
		p.expect("reminder", p.alert(metricCPU, wire.AlertReminder), "")
	}
	p.syns(true, time.Minute)
	p.expect("after five minutes", p.alert(metricCPU, wire.AlertReminder), "scale")
	p.expect("never for want of an answer", p.syns(true, time.Hour), "")
}

func owned(s wire.Status, owner string) wire.Status {
	s.Owner = owner
	return s
}
