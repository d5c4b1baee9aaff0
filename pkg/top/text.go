package top

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/weir-sensor/weir/pkg/wire"
)

// safe is a text of the network's that may be shown: it moves no cursor.
func safe(text string) string { return wire.Describe([]byte(text)) }

// oneLine is an error's text that may be shown.
func oneLine(text string) string { return safe(strings.ReplaceAll(text, "\n", "; ")) }

// number writes a count or rate as people read it, in 10 columns at most.
func number(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "?"
	case x < 0 || x >= 1e12:
		return fmt.Sprintf("%.1e", x)
	case x >= 1e9:
		return fmt.Sprintf("%.1fG", x/1e9)
	case x >= 1e7:
		return fmt.Sprintf("%.1fM", x/1e6)
	case x > 0 && x < 9.95:
		return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
	}
	digits := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// span writes a number of seconds off the wire.
func span(s float64) string {
	if !(s >= 0 && s < 1e8) {
		return "?"
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// fit makes a text exactly so many columns wide.
func (l Look) fit(text string, width int) string {
	text = l.cut(text, width)
	return text + strings.Repeat(" ", max(0, width-lipgloss.Width(text)))
}

// right is fit with the text at the right.
func (l Look) right(text string, width int) string {
	text = l.cut(text, width)
	return strings.Repeat(" ", max(0, width-lipgloss.Width(text))) + text
}

// cut shortens a text and shows that it did.
func (l Look) cut(text string, width int) string {
	if lipgloss.Width(text) <= width {
		return text
	}
	if width < 4 {
		return strings.Repeat(".", max(0, width))
	}
	more := "…"
	if l.ASCII {
		more = "..."
	}
	runes := []rune(text)
	runes = runes[:min(len(runes), 4*width)]           // of which some may be without width
	fits := sort.Search(len(runes), func(n int) bool { // hostile texts are long, and this is done for each line of each frame
		return lipgloss.Width(string(runes[:n+1])) > width-lipgloss.Width(more)
	})
	return string(runes[:fits]) + more
}

// wrap breaks a text at spaces into lines.
func (l Look) wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case lipgloss.Width(line)+1+lipgloss.Width(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, l.cut(line, width)), word
		}
	}
	return append(lines, l.cut(line, width))
}
