// Package doctor looks whether weir can do its work on a host, and says of each thing what it is, what it costs, and how to mend it. It
// changes nothing.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Unknown Level = "unknown" // can't be found out, by this user at least
	Warning Level = "warning" // weir works, but less well
	Bad     Level = "bad"     // weir can't protect this host
)

// Finding is one line of a report.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Is    string `json:"is"`              // what it is
	Costs string `json:"costs,omitempty"` // what that costs; "" for nothing
	Mend  string `json:"mend,omitempty"`  // what to do, a command where there is one
}

// Report is all of them, in the order in which they were made.
type Report []Finding

func (r *Report) add(check string, level Level, is, costs, mend string) {
	*r = append(*r, Finding{check, level, oneLine(is), costs, mend})
}

func (r *Report) ok(check, format string, args ...any) {
	r.add(check, OK, fmt.Sprintf(format, args...), "", "")
}

// Bad tells whether anything keeps weir from protecting the host.
func (r Report) Bad() int { return r.count(Bad) }

// Warnings are those that only cost something.
func (r Report) Warnings() int { return r.count(Warning) }

func (r Report) count(l Level) (n int) {
	for _, f := range r {
		if f.Level == l {
			n++
		}
	}
	return n
}

// Print writes the report for people.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	for _, f := range r {
		fmt.Fprintf(&b, "%-8s %-16s %s\n", f.Level, f.Check, f.Is)
		if f.Costs != "" {
			fmt.Fprintf(&b, "%26scosts: %s\n", "", f.Costs)
		}
		if f.Mend != "" {
			fmt.Fprintf(&b, "%26smend:  %s\n", "", f.Mend)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// PrintJSON writes it for machines, a finding a line.
func (r Report) PrintJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, f := range r {
		if err := e.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
