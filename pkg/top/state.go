package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// State is how things stand, in a word.
type State string

// The states, the most urgent to know last.
const (
	Waiting     State = "waiting" // nothing was seen yet
	Calm        State = "calm"
	UnderAttack State = "under_attack" // and nothing is done about it
	Limiting    State = "limiting"
	Challenging State = "challenging"
	BeyondHost  State = "beyond_host"
	NotGuarded  State = "not_guarded" // no datapath
	Silent      State = "sensor_silent"
	BrokerLost  State = "broker_lost"
)

// Words are for people.
func (s State) Words() string {
	if s == BeyondHost {
		return "beyond this host"
	}
	return strings.ReplaceAll(string(s), "_", " ")
}

var urgency = map[State]int{Waiting: 0, Calm: 1, UnderAttack: 4, Limiting: 2, Challenging: 3, BeyondHost: 5, NotGuarded: 6, Silent: 6, BrokerLost: 6}

// state tells how things stand on an interface, and what that is judged by.
func (p *Picture) state(f *face, now time.Time) (State, string) {
	if s, why := p.blind(f, now); s != "" {
		return s, why
	}
	n := &f.network
	offered := number(f.offered()) + " SYN/s offered"
	dropped := f.total(n.Drops)
	switch {
	case n.BeyondHost:
		return BeyondHost, fmt.Sprintf("the network card discards %s packets/s before weir sees them: stop the flood upstream",
			number(f.perSecond(n.NICDiscards)))
	case n.Challenging:
		return Challenging, fmt.Sprintf("%s, %s/s answered by SYN cookies, %s/s dropped", offered, number(f.total(n.Challenged)), number(dropped))
	case f.enforcing() && dropped > 0:
		return Limiting, fmt.Sprintf("%s, %s packets/s dropped", offered, number(dropped))
	case f.enforcing():
		return Limiting, offered + ", nothing had to be dropped"
	case p.attacked(f, now):
		return UnderAttack, fmt.Sprintf("%s, %s in 5 s: weir only counts them", offered, number(float64(n.SYNPacketCount)))
	}
	return Calm, offered
}

// blind tells why what is known may no longer hold, if so.
func (p *Picture) blind(f *face, now time.Time) (State, string) {
	if !p.cfg.Remote {
		switch {
		case f.gone != nil:
			return NotGuarded, oneLine(f.gone.Error())
		case f.at.IsZero():
			return Waiting, "for the first second to pass"
		case now.Sub(f.at) > p.cfg.silentAfter():
			return Silent, fmt.Sprintf("the datapath was not read for %v: is this machine overloaded?", seconds(now.Sub(f.at)))
		}
		return "", ""
	}
	heard := !f.at.IsZero() && f.at.After(p.turned)
	switch quiet := now.Sub(latest(f.at, p.turned)); {
	case !p.linked && p.turned.Equal(p.started):
		return BrokerLost, fmt.Sprintf("connecting to %s for %v", p.cfg.Broker, seconds(now.Sub(p.turned)))
	case !p.linked:
		return BrokerLost, fmt.Sprintf("no connection to %s for %v, trying on", p.cfg.Broker, seconds(now.Sub(p.turned)))
	case p.denied.After(f.at):
		return Silent, "it said that it is offline: does weir sensor run?"
	case quiet > p.cfg.silentAfter():
		return Silent, fmt.Sprintf("no metrics for %v: does weir sensor run, on these topics?", seconds(quiet))
	case !heard:
		return Waiting, fmt.Sprintf("for the sensor's metrics, which come every %v", p.cfg.Interval)
	}
	return "", ""
}

// attacked goes by the same threshold as the monitor, and believes the monitor, who knows what is normal.
func (p *Picture) attacked(f *face, now time.Time) bool {
	if float64(f.network.SYNPacketCount) > p.cfg.SYNThreshold {
		return true
	}
	for _, a := range p.alerts {
		if a.Metric == "syn_packet_count" {
			return a.State != wire.AlertCleared && now.Sub(a.at) < alertHolds
		}
	}
	return false
}

// alertHolds is how long an alert is believed without a reminder: a monitor that died clears nothing.
const alertHolds = 5 * time.Minute

// stale tells whether numbers are old, and since when.
func (p *Picture) stale(f *face, now time.Time) bool {
	s, _ := p.blind(f, now)
	return s != ""
}

// worst is the most urgent state of all interfaces.
func (p *Picture) worst(now time.Time) (*face, State) {
	var at *face
	var worst State
	for _, f := range p.faces {
		if s, _ := p.state(f, now); at == nil || urgency[s] > urgency[worst] {
			at, worst = f, s
		}
	}
	return at, worst
}

// active is how many alerts stand.
func (p *Picture) active(now time.Time) int {
	n, seen := 0, map[string]bool{}
	for _, a := range p.alerts {
		if !seen[a.Metric] && a.State != wire.AlertCleared && now.Sub(a.at) < alertHolds {
			n++
		}
		seen[a.Metric] = true
	}
	return n
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func seconds(d time.Duration) time.Duration { return d.Truncate(time.Second) }
