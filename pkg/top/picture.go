package top

import (
	"cmp"
	"slices"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Picture is what is known of one server. It changes by Apply alone.
type Picture struct {
	cfg     Config
	started time.Time

	linked bool      // to the broker
	turned time.Time // when that changed, or started

	cpu, ram gauge
	faces    []*face // one for each interface; one for all if Remote

	presence *wire.Presence
	denied   time.Time // when somebody said that the sensor is offline

	alerts   []alertSeen // newest first
	statuses []statusSeen
	limiting *wire.Status // newest of rate limiting that tells its state

	unreadable int
	last       Unreadable
}

// gauge is a number that comes by itself.
type gauge struct {
	value float64
	at    time.Time
	past  history
}

// face is what an interface's datapath shows.
type face struct {
	name    string
	network wire.Network
	at      time.Time // of network; zero before the first
	whole   bool      // a regular one has come, which isn't early
	gone    error
	since   time.Time // gone
	past    map[string]*history
}

type alertSeen struct {
	wire.Alert
	at time.Time
}

type statusSeen struct {
	wire.Status
	at       time.Time
	retained bool
}

// The rows of history, beside those of classes.
const (
	pastPassed      = "passed"
	pastConnections = "connections"
)

// classes in their order, as the wire calls them.
var classes = []string{"syn", "syn_ack", "tcp", "rst", "udp", "icmp", "fragment", "other"}

const (
	alertsKept   = 50
	statusesKept = 20
)

// NewPicture returns one without anything in it yet.
func NewPicture(cfg Config, now time.Time) *Picture {
	p := &Picture{cfg: cfg, started: now, turned: now}
	p.cpu.past.step, p.ram.past.step = cfg.Interval, cfg.Interval
	names := cfg.Interfaces
	if cfg.Remote || len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		f := &face{name: name, past: map[string]*history{}}
		for _, row := range append([]string{pastPassed, pastConnections}, classes...) {
			f.past[row] = &history{step: cfg.Interval}
		}
		p.faces = append(p.faces, f)
	}
	return p
}

// Apply takes an event in.
func (p *Picture) Apply(e Event) {
	switch v := e.Value.(type) {
	case wire.CPU:
		p.cpu.set(e.At, v.Usage)
	case wire.RAM:
		p.ram.set(e.At, v.Usage)
	case wire.Network:
		p.face(v.Interface).see(e.At, v)
	case wire.Presence:
		p.presence, p.denied = &v, time.Time{}
		if v.State == wire.Offline {
			p.denied = e.At
		}
	case wire.Alert:
		p.alerts = keep(alertsKept, alertSeen{v, e.At}, p.alerts)
	case wire.Status:
		p.statuses = keep(statusesKept, statusSeen{v, e.At, e.Retained}, p.statuses)
		if v.State != "" {
			p.limiting = &v
		}
	case Link:
		p.linked, p.turned = v.Up, e.At
	case Gone:
		f := p.face(v.Interface)
		if f.gone == nil {
			f.since = e.At
		}
		f.gone = v.Err
	case Unreadable:
		p.unreadable++
		p.last = v
	}
}

func keep[T any](n int, newest T, old []T) []T {
	all := append([]T{newest}, old...)
	return all[:min(len(all), n)]
}

func (g *gauge) set(at time.Time, value float64) {
	g.value, g.at = value, at
	g.past.add(at, value)
}

func (p *Picture) face(name string) *face {
	if i := slices.IndexFunc(p.faces, func(f *face) bool { return f.name == name }); i >= 0 {
		return p.faces[i]
	}
	return p.faces[0] // that of a remote sensor, whatever it guards
}

func (f *face) see(at time.Time, n wire.Network) {
	n.TopSources = distinct(n.TopSources)
	f.network, f.at, f.gone = n, at, nil
	if n.Early { // part of a step
		return
	}
	f.whole = true
	for _, class := range classes {
		f.past[class].add(at, n.Rates[class].PacketsPerSecond)
	}
	f.past[pastPassed].add(at, f.verdicts("syn").passed)
	f.past[pastConnections].add(at, float64(n.ActiveTCPConnections))
}

// distinct sorts by rate and keeps one row of each source: the selection goes by name.
func distinct(all []wire.Source) []wire.Source {
	seen := map[string]bool{}
	out := make([]wire.Source, 0, len(all))
	for _, s := range all {
		if !seen[s.Source] {
			seen[s.Source] = true
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b wire.Source) int { return cmp.Compare(b.SYNsPerSecond, a.SYNsPerSecond) })
	return out
}
