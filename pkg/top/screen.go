package top

import (
	"fmt"
	"strings"
)

// screen is all that is to be seen, as many lines as the terminal has.
func (m *model) screen() string {
	v := m.view()
	if m.width < leastWidth || m.height < leastHeight {
		return m.tiny(v)
	}
	foot := m.foot(v)
	var lines []string
	if m.height < roomyHeight {
		lines = v.head(1)
	} else {
		lines = append(v.head(2), "")
		if foot[0] != "" {
			foot = append([]string{""}, foot...)
		}
	}
	room := m.height - len(lines) - len(foot)
	var body []string
	if m.help {
		body = m.helpText(v, room)
	} else {
		body = v.body(room)
	}
	body = append(body, make([]string, max(0, room-len(body)))...)
	return strings.Join(append(append(lines, body[:room]...), foot...), "\n")
}

func (m *model) view() view {
	return view{Look: m.cfg.Look, p: m.picture, f: m.seen(), now: m.now, width: m.width, selected: m.selected}
}

// tiny keeps to what matters most.
func (m *model) tiny(v view) string {
	state, why := m.picture.state(m.seen(), m.now)
	lines := append([]string{v.paint(toneOf(state), v.cut(strings.ToUpper(state.Words()), m.width))}, v.wrap(why, m.width)...)
	lines = append(lines, v.wrap(fmt.Sprintf("too small a terminal: it takes %d columns and %d lines", leastWidth, leastHeight), m.width)...)
	return strings.Join(lines[:max(0, min(len(lines), m.height))], "\n")
}

const keyLine = "e enable  d disable  b block  up/down select  ? help  q quit"

// foot is where questions are asked and answers shown.
func (m *model) foot(v view) []string {
	var out []string
	switch {
	case m.asked != nil:
		for _, line := range v.wrap(m.question(), m.width) {
			out = append(out, v.paint(strong, line))
		}
		return append(out, v.paint(chosen, v.fit("y yes  n no", m.width)))
	case m.pending != "":
		out = append(out, v.cut(m.pending+" sent: waiting for the controller's answer", m.width))
	case m.note.text != "":
		for _, line := range v.wrap(m.note.text, m.width) {
			out = append(out, v.paint(m.note.tone, line))
		}
		out = out[:min(len(out), 3)]
	default:
		out = append(out, "")
	}
	return append(out, v.paint(chosen, v.fit(keyLine, m.width)))
}

func (m *model) helpText(v view, lines int) []string {
	var out []string
	for _, row := range [][2]string{
		{"e, d", "enable, disable rate limiting (asks first)"},
		{"b", "block the selected source for an hour (asks first)"},
		{"up, down", "select a source; tab: next interface"},
		{"q", "quit; ctrl+z: to the shell"},
		{"offered", "what came, before anything was dropped"},
		{"passed", "what the kernel was given"},
		{"would drop", "passed in observe mode, enforce mode would have dropped it"},
		{"challenged", "answered by a SYN cookie: only real clients come back"},
		{"observe", "the mode in which only blocked sources are dropped"},
		{"enforce", "the mode in which limits, budgets and the challenge act"},
		{"beyond host", "the network card loses packets: no setting here helps"},
		{"old numbers", "what was seen last, before the sensor or broker was lost"},
	} {
		out = append(out, v.cut(v.fit(row[0], 13)+row[1], v.width))
	}
	if room := lines - len(out); room > 1 {
		out = append(out, "", v.cut("any key goes back", v.width))
	}
	return out[:min(len(out), lines)]
}
