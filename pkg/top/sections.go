package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// section is a part of the body.
type section int

const (
	chartRows section = iota
	classRows
	reasonRows
	sourceRows
	eventRows
	gaps // between the others
	numSections
)

// sizes are the lines that each section has something for.
func (v view) sizes(traffic, people bool) (most [numSections]int) {
	if traffic {
		most[chartRows], most[classRows], most[reasonRows] = 24, 1+len(classes), len(v.reasonLines())
	}
	if people {
		most[sourceRows] = 1 + max(1, len(v.f.network.TopSources))
		most[eventRows] = 1 + max(1, len(v.eventLines()))
	}
	for _, part := range []section{classRows, reasonRows, sourceRows, eventRows} {
		if most[part] > 0 {
			most[gaps]++
		}
	}
	most[gaps]-- // between them; the chart has its own
	return most
}

// chartOf is the SYNs offered, over time, with the height's meaning above it.
func (v view) chartOf(lines int) []string {
	if lines < 2 {
		return nil
	}
	values := v.f.past["syn"].until(v.now, v.width)
	top := highest(values)
	label := fmt.Sprintf("SYN/s offered, the highest of %s is %s", v.reach(v.width), number(top))
	return append([]string{v.paint(faint, v.cut(label, v.width))}, v.chart(values, v.width, lines-1, top)...)
}

// reach is how far back so many columns go.
func (v view) reach(columns int) string {
	step := v.p.cfg.Interval
	return fmt.Sprintf("the last %v", (step * time.Duration(columns)).Round(step))
}

// shown are the classes that there is room for: those without packets are left out first, then the last ones.
func (v view) shown(room int) []string {
	all := slices.Clone(classes)
	for _, spare := range []func(string) bool{
		func(class string) bool { return v.f.network.Rates[class].PacketsPerSecond == 0 },
		func(string) bool { return true },
	} {
		for i := len(all) - 1; i > 0 && len(all) > room; i-- {
			if spare(all[i]) {
				all = slices.Delete(all, i, i+1)
			}
		}
	}
	return all
}

// busy is how many classes packets come of, SYN always among them.
func (v view) busy() int {
	n := 0
	for _, class := range classes {
		if class == "syn" || v.f.network.Rates[class].PacketsPerSecond > 0 {
			n++
		}
	}
	return n
}

// classes is a table of rates.
func (v view) classes(lines int) []string {
	if lines < 2 {
		return nil
	}
	columns, sparkWidth := v.classColumns()
	header := v.fit("packets/s", 9)
	for _, c := range columns {
		header += v.right(c.name, c.width)
	}
	if sparkWidth > 0 {
		header += "  " + v.fit(strings.TrimPrefix(v.reach(sparkWidth), "the "), sparkWidth)
	}
	out := []string{v.paint(faint, v.cut(header, v.width))}
	for _, class := range v.shown(lines - 1) {
		line := v.fit(strings.ToUpper(strings.ReplaceAll(class, "_", "-")), 9)
		for _, c := range columns {
			line += v.right(c.value(class), c.width)
		}
		if sparkWidth > 0 {
			line += "  " + v.spark(v.f.past[class].until(v.now, sparkWidth), sparkWidth)
		}
		out = append(out, line)
	}
	return out
}

type classColumn struct {
	name  string
	width int
	value func(class string) string
}

// classColumns are those that there is room for, and what is left for the sparkline.
func (v view) classColumns() ([]classColumn, int) {
	f := v.f
	of := func(pick func(verdictRates) float64) func(string) string {
		return func(class string) string {
			r := f.verdicts(class)
			if !r.known || f.at.IsZero() {
				return "-"
			}
			return number(pick(r))
		}
	}
	rate := func(pick func(wire.Rate) float64) func(string) string {
		return func(class string) string {
			if r, ok := f.network.Rates[class]; ok {
				return number(pick(r))
			}
			return "-"
		}
	}
	wouldDrop := classColumn{"would drop", 11, of(func(r verdictRates) float64 { return r.wouldDrop })}
	dropped := classColumn{"dropped", 10, of(func(r verdictRates) float64 { return r.dropped })}
	all := []classColumn{
		{"offered", 10, rate(func(r wire.Rate) float64 { return r.PacketsPerSecond })},
		{"passed", 10, of(func(r verdictRates) float64 { return r.passed })},
	}
	switch {
	case v.width >= 72:
		all = append(all, wouldDrop, dropped)
	case f.enforcing():
		all = append(all, dropped)
	default:
		all = append(all, wouldDrop)
	}
	all = append(all, classColumn{"challenged", 11, of(func(r verdictRates) float64 { return r.challenged })})
	if v.width >= 100 {
		all = append(all, classColumn{"kbit/s", 10, rate(func(r wire.Rate) float64 { return r.BytesPerSecond * 8 / 1000 })})
	}
	left := v.width - 9 - 2
	for _, c := range all {
		left -= c.width
	}
	if left < 6 || v.fixed {
		left = 0
	}
	return all, left
}

func (v view) reasons(lines int) []string {
	all := v.reasonLines()
	return all[:min(lines, len(all))]
}

// reasonLines tell why packets were not let pass.
func (v view) reasonLines() []string {
	var out []string
	n := &v.f.network
	for _, row := range []struct {
		label string
		by    map[string]uint64
	}{{"dropped for", n.Drops}, {"challenged for", n.Challenged}, {"would drop for", n.WouldDrop}} {
		text := ""
		for _, r := range v.f.reasons(row.by) {
			if len(text) < 2*v.width {
				text += fmt.Sprintf("  %s %s/s", safe(r.reason), number(r.rate))
			}
		}
		if text != "" {
			out = append(out, v.cut(v.fit(row.label, 14)+text, v.width))
		}
	}
	if n.NICDiscards > 0 {
		out = append(out, v.cut(v.fit("network card", 14)+fmt.Sprintf("  discards %s/s before weir sees them", number(v.f.perSecond(n.NICDiscards))), v.width))
	}
	return out
}
