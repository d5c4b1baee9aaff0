package web

import (
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// What is kept in memory of each server: the last hour.
const (
	hour    = time.Hour
	maxRows = 3700 // of each tab: a message a second; older ones are in the history
	maxText = 4 << 20
)

// server is one protected server, as it was heard of.
type server struct {
	root     string
	heard    heard
	cpu      *wire.CPU
	ram      *wire.RAM
	network  *wire.Network
	presence *wire.Presence
	limiting *wire.Status           // the last of status/rate_limiting
	scaling  *wire.Status           // the last of status/scaling
	alerts   map[string]*wire.Alert // by metric, the last
	rows     map[string]*rows       // by tab
	sources  talkers
}

// heard is when metrics came last. One that is late isn't told as if it were live, whatever else comes.
type heard struct{ cpu, ram, network time.Time }

// last is when the sensor was heard: what it says of the network counts most.
func (h heard) last() time.Time {
	if !h.network.IsZero() {
		return h.network
	}
	if h.cpu.After(h.ram) {
		return h.cpu
	}
	return h.ram
}

// silentAfter is how many intervals a sensor may be late.
const silentAfter = 2.5

// late tells whether what came then is too old to be shown as live.
func late(then, now time.Time, interval time.Duration) bool {
	return now.Sub(then) > time.Duration(silentAfter*float64(interval))
}

func newServer(root string) *server {
	s := &server{root: root, alerts: map[string]*wire.Alert{}, rows: map[string]*rows{}, sources: talkers{}}
	for _, tab := range tabs {
		s.rows[tab] = &rows{}
	}
	return s
}

// take brings the state up to date. A retained message is old: it tells states, not that anybody is alive.
func (s *server) take(e *event) {
	at := time.UnixMilli(e.At)
	switch {
	case e.CPU != nil:
		s.cpu, s.heard.cpu = e.CPU, at
	case e.RAM != nil:
		s.ram, s.heard.ram = e.RAM, at
	case e.Network != nil:
		s.network, s.heard.network = e.Network, at
		s.sources.take(at, e.Network.TopSources)
	case e.Presence != nil:
		s.presence = e.Presence
	case e.Status != nil && strings.HasSuffix(e.topic, "/status/rate_limiting"):
		s.limiting = e.Status
	case e.Status != nil && strings.HasSuffix(e.topic, "/status/scaling"):
		s.scaling = e.Status
	case e.Alert != nil && len(s.alerts) < maxMetrics || e.Alert != nil && s.alerts[e.Alert.Metric] != nil:
		s.alerts[e.Alert.Metric] = e.Alert
	}
	s.rows[e.Tab].add(e)
}

const maxMetrics = 64 // names come from outside

// rows are a tab's messages, oldest first.
type rows struct {
	all   []*event
	bytes int
}

func (r *rows) add(e *event) {
	if n := len(r.all); n > 0 && r.all[n-1].topic == e.topic { // one string for all of them
		last := r.all[n-1]
		e.topic, e.Topic, e.root = last.topic, last.Topic, last.root
	}
	r.all = append(r.all, e)
	r.bytes += len(e.Text)
	if n := len(r.all) - 1 - firstRows; n >= 0 { // charts alone still show it
		r.bytes -= len(r.all[n].Text)
		r.all[n].Text = ""
	}
	oldest := e.At - hour.Milliseconds()
	for len(r.all) > 1 && (len(r.all) > maxRows || r.bytes > maxText || r.all[0].At < oldest) {
		r.bytes -= len(r.all[0].Text)
		r.all[0] = nil
		r.all = r.all[1:]
	}
}

// latest are the newest n rows, or fewer if their texts come to more than so many bytes.
func (r *rows) latest(n, bytes int) []*event {
	from := len(r.all)
	for from > max(0, len(r.all)-n) {
		if bytes -= len(r.all[from-1].Text); bytes < 0 {
			break
		}
		from--
	}
	return r.all[from:]
}

// talkers are the sources seen among the top ones, by name.
type talkers map[string]*talker

type talker struct {
	Source  string  `json:"source"`
	SYNs    float64 `json:"syn_per_second"` // when it was last seen
	Peak    float64 `json:"peak"`
	Limited bool    `json:"limited"`
	First   int64   `json:"first"` // Unix milliseconds
	Last    int64   `json:"last"`
}

const maxTalkers = 200

func (t talkers) take(at time.Time, top []wire.Source) {
	now := at.UnixMilli()
	for _, s := range top {
		name := wire.Describe([]byte(s.Source))
		x := t[name]
		if x == nil {
			x = &talker{Source: name, First: now}
			t[name] = x
		}
		x.SYNs, x.Peak, x.Limited, x.Last = s.SYNsPerSecond, max(x.Peak, s.SYNsPerSecond), s.Limited, now
	}
	for name, x := range t {
		if now-x.Last > hour.Milliseconds() {
			delete(t, name)
		}
	}
	for len(t) > maxTalkers { // the longest unseen goes
		var oldest *talker
		for _, x := range t {
			if oldest == nil || x.Last < oldest.Last {
				oldest = x
			}
		}
		delete(t, oldest.Source)
	}
}

func (t talkers) list() []*talker {
	all := make([]*talker, 0, len(t))
	for _, x := range t {
		row := *x
		all = append(all, &row)
	}
	return all
}
