package top

import (
	"math"
	"strings"
)

// ramp are the heights of a column, none first.
func (l Look) ramp() []rune {
	if l.ASCII {
		return []rune(" _.-=+*#@")
	}
	return []rune(" ▁▂▃▄▅▆▇█")
}

// chart draws values as columns, rows high, of which the highest is top. Above zero there is always something to see; a gap
// is blank down to the ground, where zero has a line.
func (l Look) chart(values []float64, width, rows int, top float64) []string {
	ramp := l.ramp()
	steps := len(ramp) - 1
	values = values[max(0, len(values)-width):]
	lines := make([]string, rows)
	for row := range rows {
		var b strings.Builder
		b.WriteString(strings.Repeat(" ", max(0, width-len(values))))
		for _, v := range values {
			b.WriteRune(ramp[height(v, top, rows*steps, (rows-1-row)*steps, steps)])
		}
		lines[row] = b.String()
	}
	return lines
}

// height is a column's in one row, in steps; below is how many steps lie under the row.
func height(v, top float64, all, below, steps int) int {
	if math.IsNaN(v) {
		return 0
	}
	h := 1
	if top > 0 && v > 0 {
		h += int(math.Ceil(min(v/top, 1) * float64(all-1)))
	}
	return min(max(h-below, 0), steps)
}

func (l Look) spark(values []float64, width int) string {
	return l.chart(values, width, 1, highest(values))[0]
}

func highest(values []float64) float64 {
	top := 0.0
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			top = max(top, v)
		}
	}
	return top
}
