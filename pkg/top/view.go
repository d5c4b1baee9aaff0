package top

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
)

// The smallest terminal, and from when on there are two columns.
const (
	leastWidth  = 60
	leastHeight = 15
	wideFrom    = 140
	roomyHeight = 20 // from which blank lines are affordable
)

// view draws a picture as it is now, for a width. It holds what a person has chosen to see.
type view struct {
	Look
	p        *Picture
	f        *face
	now      time.Time
	width    int
	selected string // source
	fixed    bool   // nobody selects anything
}

// head says where, how things stand, and in which mode.
func (v view) head(lines int) []string {
	f := v.f
	title := "weir top  " + safe(v.p.cfg.Root.String())
	if name := f.network.Interface; name != "" {
		title += "  " + safe(name)
	} else if f.name != "" {
		title += "  " + f.name
	}
	if f.network.Tier != "" {
		title += " " + safe(f.network.Tier)
	}
	if v.p.cfg.Remote {
		title += "  by " + safe(v.p.cfg.Broker)
	}
	clock := v.now.Format("15:04:05")
	out := []string{v.paint(strong, v.fit(title, v.width-len(clock)-1)) + " " + clock}

	state, why := v.p.state(f, v.now)
	word := strings.ToUpper(state.Words())
	room := v.width - len(word) - 2
	reason := v.wrap(why, room)
	if len(reason) > lines {
		rest := strings.Join(reason[lines-1:], " ")
		reason = append(reason[:lines-1], v.cut(rest, room))
	}
	for i, line := range reason {
		lead := v.paint(toneOf(state), word)
		if i > 0 {
			lead = strings.Repeat(" ", len(word))
		}
		out = append(out, lead+"  "+line)
	}
	return append(out, v.mode(), v.host())
}

// mode is what the datapath was told, and what else there is to know at once.
func (v view) mode() string {
	n := &v.f.network
	text, limit := "mode unknown", ""
	switch {
	case v.f.at.IsZero():
	case v.f.enforcing():
		text = "mode enforce, lease ends in " + span(n.LeaseSeconds)
		if l := v.p.limiting; l != nil && l.Rate > 0 {
			limit = fmt.Sprintf("; %s SYN/s and %s at once a source", number(float64(l.Rate)), number(float64(l.Burst)))
		}
	default:
		text = "mode observe: only blocked sources are dropped"
	}
	if v.p.stale(v.f, v.now) && !v.f.at.IsZero() {
		text = fmt.Sprintf("OLD NUMBERS, of %v ago: %s", seconds(v.now.Sub(v.f.at)), text)
	}
	switch n := v.p.active(v.now); {
	case n == 1:
		text += "; 1 alert"
	case n > 1:
		text += fmt.Sprintf("; %d alerts", n)
	}
	if len(v.p.faces) > 1 && !v.fixed {
		other := "another interface"
		if f, s := v.p.worst(v.now); f != v.f && urgency[s] > urgency[Calm] {
			other = fmt.Sprintf("%s, %s", f.name, s.Words())
		}
		text += "; tab: " + other
	}
	text += limit // what matters least comes last, where it may be cut
	return v.cut(text, v.width)
}

// host is a line of what the server itself feels. A number that is old isn't shown.
func (v view) host() string {
	each := (v.width - 4) / 3
	cell := func(label, text string, past *history, top float64) string {
		text = label + " " + text + " "
		room := each - lipgloss.Width(text)
		if v.fixed || room < 1 {
			return v.fit(text, each)
		}
		values := past.until(v.now, room)
		return text + v.chart(values, room, 1, max(top, highest(values)))[0]
	}
	percent := func(label string, g *gauge) string {
		text := "    -"
		if !g.at.IsZero() && v.now.Sub(g.at) <= v.p.cfg.silentAfter() {
			text = fmt.Sprintf("%3.0f %%", g.value)
		}
		return cell(label, text, &g.past, 100)
	}
	connections := "-"
	if !v.f.at.IsZero() {
		connections = number(float64(v.f.network.ActiveTCPConnections))
	}
	return percent("cpu", &v.p.cpu) + "  " + percent("ram", &v.p.ram) + "  " +
		cell("connections", connections, v.f.past[pastConnections], 0)
}

// body fills lines with what there is to see, most important first where there is little room.
func (v view) body(lines int) []string {
	if v.width < wideFrom {
		return v.column(lines, true, true)
	}
	left, right := v, v
	left.width = v.width * 55 / 100
	right.width = v.width - left.width - 3
	l, r := left.column(lines, true, false), right.column(lines, false, true)
	out := make([]string, max(len(l), len(r)))
	for i := range out {
		a, b := "", ""
		if i < len(l) {
			a = l[i]
		}
		if i < len(r) {
			b = r[i]
		}
		out[i] = strings.TrimRight(a+strings.Repeat(" ", max(0, left.width-lipgloss.Width(a)))+"   "+b, " ")
	}
	return out
}

// whole is everything but the chart: a single sample has none.
func (v view) whole() []string {
	out := append(v.classes(1+len(classes)), v.reasons(len(v.reasonLines()))...)
	out = append(append(out, ""), v.sources(1+max(1, len(v.f.network.TopSources)))...)
	return append(append(out, ""), v.events(1+max(1, len(v.eventLines())))...)
}

// column gives each section its least first, then more in the order of what helps most.
func (v view) column(lines int, traffic, people bool) []string {
	var grown [numSections]int
	most := v.sizes(traffic, people)
	grow := func(s section, to int) {
		if s == chartRows && grown[s] == 0 && lines > 0 {
			lines--
			most[gaps], grown[gaps] = most[gaps]+1, grown[gaps]+1
		}
		n := min(max(0, min(to, most[s])-grown[s]), lines)
		grown[s] += n
		lines -= n
	}
	for _, step := range []struct {
		section
		to int
	}{
		{classRows, 2}, {sourceRows, 3}, {eventRows, 2}, {classRows, 1 + v.busy()}, {reasonRows, 2}, {sourceRows, 5},
		{gaps, 3}, {eventRows, 4}, {reasonRows, 4}, {classRows, 9}, {sourceRows, 8}, {eventRows, 6}, {chartRows, 7},
		{sourceRows, 12}, {eventRows, 9}, {chartRows, 12}, {sourceRows, 1000}, {eventRows, 1000}, {chartRows, 24},
	} {
		if step.section == chartRows && (lines+grown[chartRows] < 5 || most[chartRows] == 0) {
			continue // too flat to tell anything
		}
		grow(step.section, step.to)
	}
	var out []string
	for _, part := range [][]string{
		v.chartOf(grown[chartRows]), v.classes(grown[classRows]), v.reasons(grown[reasonRows]),
		v.sources(grown[sourceRows]), v.events(grown[eventRows]),
	} {
		if len(part) > 0 && len(out) > 0 && grown[gaps] > 0 {
			grown[gaps]--
			out = append(out, "")
		}
		out = append(out, part...)
	}
	return out
}
