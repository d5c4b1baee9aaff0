package haproxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// server is one row of `show stat`.
type server struct {
	name   string
	status string // UP, DOWN, MAINT, DRAIN, no check, …
	check  string // L7OK, L4CON, …; "" for none
	said   string // by the check, for people
	passed int    // checks in a row
	rise   int    // how many it takes
	host   string
	port   int // 0 if not known
	busy   int // requests that it has, or that wait for it
	weight int // as configured, not as lowered by slow start or drain
	backup bool
}

func (s server) maint() bool    { return strings.HasPrefix(s.status, "MAINT") }
func (s server) draining() bool { return strings.HasPrefix(s.status, "DRAIN") }

// there tells those that count: administratively on, whether or not they are well.
func (s server) there() bool { return !s.maint() && !s.draining() && !s.backup }

func (s server) up() bool { return strings.HasPrefix(s.status, "UP") || s.status == "no check" }

// checked tells that HAProxy's own check has passed as often as it must.
func (s server) checked() bool { return strings.HasSuffix(s.check, "OK") && s.passed >= s.rise }

// servers asks for those of the backend.
func (p *Pool) servers(ctx context.Context) ([]server, error) {
	// Of all proxies, backends and servers: by its name HAProxy might find a frontend.
	text, err := p.cli.ask(ctx, "show stat -1 6 -1")
	if err != nil {
		return nil, err
	}
	all, err := parseServers(text, p.Backend)
	if err != nil {
		return nil, fmt.Errorf("haproxy's backend %s: %w", p.Backend, err)
	}
	return all, nil
}

var columns = []string{"pxname", "svname", "status", "scur", "qcur", "check_status", "check_desc", "check_health", "check_rise", "addr", "uweight", "bck"}

// parseServers reads the CSV of `show stat`, by the names of its columns, of which later versions have more.
func parseServers(text, backend string) ([]server, error) {
	head, ok := strings.CutPrefix(text, "# ")
	if !ok {
		return nil, refused{"show stat", text}
	}
	r := csv.NewReader(strings.NewReader(head))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("an answer that can't be read: %v", err)
	}
	place := map[string]int{}
	for i, name := range rows[0] {
		place[name] = i
	}
	for _, name := range columns {
		if _, ok := place[name]; !ok {
			return nil, fmt.Errorf("`show stat` has no column %s: is this HAProxy 2.6 or later?", name)
		}
	}
	var all []server
	known := false
	for _, row := range rows[1:] {
		cell := func(name string) string {
			if i := place[name]; i < len(row) {
				return row[i]
			}
			return ""
		}
		switch name := cell("svname"); {
		case cell("pxname") != backend || name == "" || name == "FRONTEND":
		case name == "BACKEND":
			known = true
		default:
			all = append(all, readServer(cell))
		}
	}
	if !known {
		return nil, errors.New("there is none of that name: see scaling.haproxy.backend")
	}
	return all, nil
}

func readServer(cell func(string) string) server {
	number := func(name string) int {
		n, _ := strconv.Atoi(cell(name)) // what isn't there is none
		return max(0, n)
	}
	s := server{
		name: cell("svname"), status: cell("status"), said: cell("check_desc"), weight: number("uweight"), backup: cell("bck") == "1",
		check:  strings.TrimPrefix(cell("check_status"), "* "), // while the next one is under way
		passed: number("check_health"), rise: number("check_rise"),
		busy: number("scur") + number("qcur"),
	}
	if host, port, err := net.SplitHostPort(cell("addr")); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			s.host, s.port = host, int(n)
		}
	}
	return s
}

// weightOf is the commonest weight, of several the lowest.
func weightOf(all []server) int {
	count := map[int]int{}
	for _, s := range all {
		if s.there() && s.weight > 0 {
			count[s.weight]++
		}
	}
	best := 0
	for _, w := range slices.Sorted(maps.Keys(count)) {
		if count[w] > count[best] {
			best = w
		}
	}
	if best == 0 {
		return defaultWeight
	}
	return best
}

// defaultWeight is for the first server; a percentage of 1 would be 0.
const defaultWeight = 100
