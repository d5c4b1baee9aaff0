package web

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// hello is the first thing that a browser gets.
type hello struct {
	Type       string     `json:"type"`
	Version    string     `json:"version"`
	Root       string     `json:"root"` // the one to show first
	Interval   int64      `json:"interval"`
	Thresholds Thresholds `json:"thresholds"`
	Tabs       []string   `json:"tabs"`
	History    bool       `json:"history"`
}

// conditions are what is said of all servers, whenever it changes.
type conditions struct {
	Type    string      `json:"type"`
	Broker  bool        `json:"broker"`
	Servers []condition `json:"servers"`

	Warnings []string `json:"warnings,omitempty"`
}

type condition struct {
	Root      string    `json:"root"`
	Condition Condition `json:"condition"`
	Attacked  bool      `json:"attacked"`
	Heard     int64     `json:"heard,omitempty"` // Unix milliseconds
	CPU       *float64  `json:"cpu,omitempty"`
	RAM       *float64  `json:"ram,omitempty"`
	SYNs      *uint64   `json:"syns,omitempty"`
	Conns     *int      `json:"connections,omitempty"`
}

func (w *Web) conditions(now time.Time) conditions {
	c := conditions{Type: "conditions", Broker: w.connected, Servers: []condition{}}
	if w.cfg.Warnings != nil {
		c.Warnings = w.cfg.Warnings()
	}
	for _, root := range slices.Sorted(maps.Keys(w.servers)) {
		s := w.servers[root]
		row := condition{Root: wire.Describe([]byte(root)), Condition: s.condition(now, w.cfg.Interval, w.cfg.Thresholds), Attacked: s.attacked(w.cfg.Thresholds)}
		if at := s.heard.last(); !at.IsZero() {
			row.Heard = at.UnixMilli()
		}
		if !late(s.heard.cpu, now, w.cfg.Interval) {
			row.CPU = s.cpuUsage()
		}
		if !late(s.heard.ram, now, w.cfg.Interval) {
			row.RAM = s.ramUsage()
		}
		if n := s.network; n != nil && !late(s.heard.network, now, w.cfg.Interval) {
			row.SYNs, row.Conns = &n.SYNPacketCount, &n.ActiveTCPConnections
		}
		c.Servers = append(c.Servers, row)
	}
	return c
}

// snapshot is all that is known of one server.
type snapshot struct {
	Type     string              `json:"type"`
	Now      int64               `json:"now"` // Unix milliseconds, this server's clock
	Root     string              `json:"root"`
	Series   *series             `json:"series"`
	Rows     map[string][]*event `json:"rows"`
	Network  *wire.Network       `json:"network,omitempty"`
	Presence *wire.Presence      `json:"presence,omitempty"`
	Limiting *wire.Status        `json:"limiting,omitempty"`
	Scaling  *wire.Status        `json:"scaling,omitempty"`
	Alerts   []*wire.Alert       `json:"alerts"` // those that are raised
	Sources  []*talker           `json:"sources"`
}

// What is sent of each tab at first; the page asks for what is older.
const (
	firstRows = 500
	firstText = 1 << 20 // bytes
)

// snapshot must be called with mu held.
func (w *Web) snapshot(now time.Time, root string) snapshot {
	x := snapshot{Type: "snapshot", Now: now.UnixMilli(), Root: root, Series: newSeries(), Rows: map[string][]*event{}, Alerts: []*wire.Alert{}, Sources: []*talker{}}
	x.Rows[tabPublic] = light(w.public.latest(firstRows, firstText))
	s := w.servers[root]
	if s == nil {
		return x
	}
	var all []*event
	for _, tab := range tabs {
		if tab == tabPublic {
			continue
		}
		x.Rows[tab] = light(s.rows[tab].latest(firstRows, firstText))
		all = append(all, s.rows[tab].all...)
	}
	slices.SortStableFunc(all, func(a, b *event) int { return cmp.Compare(a.At, b.At) })
	oldest := now.Add(-hour).UnixMilli()
	for _, e := range all {
		if e.At >= oldest {
			x.Series.add(e)
		}
	}
	x.Network, x.Presence, x.Limiting, x.Scaling, x.Sources = s.network, s.presence, s.limiting, s.scaling, s.sources.list()
	for _, metric := range slices.Sorted(maps.Keys(s.alerts)) {
		if s.raised(metric) {
			x.Alerts = append(x.Alerts, s.alerts[metric])
		}
	}
	return x
}

// light leaves out what the rows' texts say already.
func light(all []*event) []*event {
	rows := make([]*event, len(all))
	for i, e := range all {
		rows[i] = &event{At: e.At, Tab: e.Tab, Topic: e.Topic, Text: e.Text, Note: e.Note, ID: e.ID}
	}
	return rows
}
