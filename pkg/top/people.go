package top

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// sources is a table of the busiest, around the selected one.
func (v view) sources(lines int) []string {
	if lines < 2 {
		return nil
	}
	all := v.f.network.TopSources
	nameWidth := min(v.width-2-10-18, 44)
	header := "  " + v.fit("source", nameWidth) + v.right("SYN/s", 10)
	out := []string{v.paint(faint, header)}
	switch {
	case len(all) == 0 && v.f.network.Challenging:
		return append(out, v.cut("  none listed: challenged SYNs aren't counted by their source, which may be forged", v.width))
	case len(all) == 0:
		return append(out, "  none has sent a SYN lately")
	}
	first := max(0, v.index()-(lines-2))
	for i, s := range all[first:min(len(all), first+lines-1)] {
		mark := "  "
		selected := first+i == v.index() && !v.fixed
		if selected {
			mark = "> "
		}
		row := mark + v.fit(safe(s.Source), nameWidth) + v.right(number(s.SYNsPerSecond), 10)
		over := ""
		if s.Limited {
			over = "  over its limit"
		}
		if selected {
			row = v.paint(chosen, row+over)
		} else {
			row += v.paint(uneasy, over)
		}
		out = append(out, row)
	}
	return out
}

// index is the selected source's, or the first's.
func (v view) index() int {
	return max(0, slices.IndexFunc(v.f.network.TopSources, func(s wire.Source) bool { return s.Source == v.selected }))
}

// events are alerts and answers to commands, newest first.
func (v view) events(lines int) []string {
	if lines < 2 {
		return nil
	}
	out := []string{v.paint(faint, v.cut("alerts and commands", v.width))}
	if all := v.eventLines(); len(all) > 0 {
		return append(out, all[:min(len(all), lines-1)]...)
	}
	return append(out, v.cut(v.noEvents(), v.width))
}

func (v view) noEvents() string {
	if !v.p.linked {
		return fmt.Sprintf("  none to know of: no broker at %s since %s", safe(v.p.cfg.Broker), v.p.turned.Format("15:04:05"))
	}
	return "  none since " + v.p.turned.Format("15:04:05")
}

type line struct {
	at   time.Time
	tone tone
	text string
}

func (v view) eventLines() []string {
	var all []line
	for _, a := range v.p.alerts {
		l := line{a.at, bad, clock(a.at, false) + "  " + alertText(a.Alert)}
		if a.State == wire.AlertCleared {
			l.tone = good
		}
		all = append(all, l)
	}
	for _, s := range v.p.statuses {
		l := line{s.at, plain, clock(s.at, s.retained) + "  " + statusText(s.Status)}
		if s.Status.Status != wire.Success {
			l.tone = uneasy
		}
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b line) int { return cmp.Compare(b.at.UnixNano(), a.at.UnixNano()) })
	var out []string
	if len(all) > 0 && !v.p.linked && !v.p.cfg.Remote {
		out = append(out, v.paint(uneasy, v.cut(v.noEvents(), v.width)))
	}
	if v.p.unreadable > 0 {
		out = append(out, v.cut(fmt.Sprintf("  %d unreadable messages, the last on %s: %s", v.p.unreadable,
			safe(v.p.last.Topic), oneLine(v.p.last.Err.Error())), v.width))
	}
	for _, l := range all {
		out = append(out, v.paint(l.tone, v.cut("  "+l.text, v.width)))
	}
	return out
}

func clock(at time.Time, before bool) string {
	if before {
		return "earlier "
	}
	return at.Format("15:04:05")
}

func alertText(a wire.Alert) string {
	text := safe(a.State) + ": " + safe(a.Alert)
	if a.Threshold > 0 {
		text += fmt.Sprintf(": %s, level %s", number(a.Value), number(a.Threshold))
	}
	return text
}

func statusText(s wire.Status) string {
	text := safe(s.Command)
	if s.Origin != "" {
		text += " by " + safe(s.Origin)
	}
	text += ": " + safe(s.Status)
	if s.Detail != "" {
		text += ": " + safe(s.Detail)
	}
	return text
}
