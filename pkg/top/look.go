package top

import (
	"image/color"
	"strings"

	"charm.land/lipgloss/v2"
)

// Look is what the terminal can show. Colours support words, and say nothing by themselves.
type Look struct {
	ASCII   bool // it has no block characters
	NoColor bool
	Plain   bool // no styles at all: it isn't a terminal
}

// LookOf goes by the environment: NO_COLOR (no-color.org), the locale, and Linux's own console, whose font has no blocks.
func LookOf(getenv func(string) string) Look {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // in the order of setlocale(3)
		if locale = strings.ToLower(getenv(name)); locale != "" {
			break
		}
	}
	utf8 := locale == "" || strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
	return Look{NoColor: getenv("NO_COLOR") != "", ASCII: !utf8 || getenv("TERM") == "linux"}
}

// tone is what a text is to stand out by.
type tone int

const (
	plain tone = iota
	strong
	faint
	good
	uneasy
	bad
	chosen
)

func (l Look) paint(t tone, text string) string {
	if l.Plain || t == plain {
		return text
	}
	s := lipgloss.NewStyle()
	switch t {
	case strong:
		s = s.Bold(true)
	case faint:
		s = s.Faint(true)
	case chosen:
		s = s.Reverse(true)
	default:
		s = s.Bold(true)
		if !l.NoColor {
			s = s.Foreground(map[tone]color.Color{good: lipgloss.Green, uneasy: lipgloss.Yellow, bad: lipgloss.Red}[t])
		}
	}
	return s.Render(text)
}

// toneOf is the headline's.
func toneOf(s State) tone {
	switch s {
	case Calm:
		return good
	case Waiting, Limiting, Challenging:
		return uneasy
	}
	return bad
}
