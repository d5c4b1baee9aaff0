package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/trust"
)

// The words that could be taken for one another: a site for a server, a server for a topic.
var words = []string{"north", "bank", "metrics", "status", "alerts", "control", "command", "cpu"}

// generate visits all topics of up to so many levels.
func generate(levels int, of []string, visit func(string)) {
	var add func(before []string)
	add = func(before []string) {
		if len(before) > 0 {
			visit(strings.Join(before, "/"))
		}
		if len(before) == levels || len(before) > 0 && before[len(before)-1] == "#" {
			return
		}
		for _, w := range of {
			add(append(before, w))
		}
	}
	add(make([]string, 0, levels))
}

// everybody is every role for every org, site and server of the words.
func everybody() []trust.Identity {
	var all []trust.Identity
	for _, org := range []string{"o", "public"} {
		for _, site := range append([]string{""}, words...) {
			for _, role := range trust.Roles {
				servers := []string{""}
				if role.OfOneServer() {
					servers = words
				}
				for _, server := range servers {
					all = append(all, trust.Identity{Name: "x", Role: role, Org: org, Site: site, Server: server})
				}
			}
		}
	}
	return all
}

// TestNoLeak: what somebody publishes is received by nobody of another site, whatever sites and servers are named; public messages
// are for all.
func TestNoLeak(t *testing.T) {
	type place struct{ org, site string }
	published, received := map[string][]place{}, map[string][]place{}
	for _, id := range everybody() {
		p, here := For(id), place{id.Org, id.Site}
		if len(p.rules.Read)+len(p.rules.Write) == 0 {
			continue
		}
		note := func(where map[string][]place, topic string) {
			if !slices.Contains(where[topic], here) {
				where[topic] = append(where[topic], here)
			}
		}
		generate(4, words, func(rest string) {
			topic := id.Org + "/" + rest // another's org is tried below
			if p.allows(Publish, topic) {
				note(published, topic)
			}
			if p.allows(Receive, topic) {
				note(received, topic)
			}
			for _, do := range []Action{PublishRetained, Will} {
				if p.allows(do, topic) && !p.allows(Publish, topic) {
					t.Fatalf("%+v may %s %s but not publish", id, do, topic)
				}
			}
		})
	}
	if len(published) < 100 || len(received) < 1000 {
		t.Fatalf("%d topics are published, %d received", len(published), len(received))
	}
	for topic, from := range published {
		for _, p := range from {
			for _, r := range received[topic] {
				if p != r && !strings.HasPrefix(topic, "public/") {
					t.Errorf("%s is published in %v and received in %v", topic, p, r)
				}
			}
			for _, q := range from {
				if p != q {
					t.Errorf("%s is published in %v and in %v", topic, p, q)
				}
			}
		}
	}
}

func TestOtherOrgs(t *testing.T) {
	for _, id := range everybody() {
		p := For(id)
		for _, org := range []string{"o", "north", "metrics", "+", "other"} {
			if org == id.Org {
				continue
			}
			for _, rest := range []string{"#", "bank/metrics/cpu", "bank/#", "+/metrics/#", "north/bank/alerts", "north/bank/control/command", "bank/alerts"} {
				for do := Publish; do <= Will; do++ {
					if p.May(do, org+"/"+rest) == nil {
						t.Fatalf("%+v may %s %s/%s", id, do, org, rest)
					}
				}
			}
		}
	}
}

// matches is MQTT's own rule (3.1.1, section 4.7), written anew.
func matches(f, t []string) bool {
	if strings.HasPrefix(t[0], "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || level != "+" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

// TestFiltersMatchOnlyWhatMayBeReceived tries all filters and topics of up to five levels.
func TestFiltersMatchOnlyWhatMayBeReceived(t *testing.T) {
	few := []string{"o", "north", "bank", "metrics", "control", "command", "public"}
	var topics [][]string
	generate(5, few, func(topic string) {
		if strings.HasPrefix(topic, "o/") || strings.HasPrefix(topic, "public") {
			topics = append(topics, strings.Split(topic, "/"))
		}
	})
	for _, role := range trust.Roles {
		for _, site := range []string{"", "north"} {
			p := For(identity(role, "o", site))
			allowed := 0
			generate(5, append([]string{"+", "#"}, few...), func(filter string) {
				if !p.allows(Subscribe, filter) { // as May, without a text
					return
				}
				allowed++
				if !strings.ContainsAny(filter, "+#") {
					return
				}
				levels := strings.Split(filter, "/")
				for _, topic := range topics {
					if matches(levels, topic) && !p.allows(Receive, strings.Join(topic, "/")) {
						t.Fatalf("%s of site %q: filter %s matches %v", role, site, filter, topic)
					}
				}
			})
			if (allowed == 0) != (role == trust.Broker) {
				t.Errorf("a %s may subscribe to %d filters", role, allowed)
			}
		}
	}
}

func FuzzFilters(f *testing.F) {
	for _, s := range []string{"o/+/metrics/#", "o/bank/control/command", "public/#", "#", "$share/x/o/#", "o//metrics/#", "o/north/+/alerts"} {
		f.Add(s, "o/bank/metrics/cpu")
		f.Add(s, strings.NewReplacer("+", "north", "#", "alerts").Replace(s))
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		for _, role := range trust.Roles {
			for _, site := range []string{"", "north"} {
				p := For(identity(role, "o", site))
				// A topic that matches, since random ones hardly ever do.
				if levels := strings.Split(filter, "/"); len(levels) > 0 {
					for i, level := range levels {
						switch level {
						case "+":
							levels[i] = strings.NewReplacer("/", "", "+", "", "#", "", "\x00", "").Replace(topic)
						case "#":
							levels[i] = topic
						}
					}
					check(t, p, filter, strings.Join(levels, "/"))
				}
				check(t, p, filter, topic)
			}
		}
	})
}

func check(t *testing.T, p Policy, filter, topic string) {
	if malformed(topic, false) != "" || p.May(Subscribe, filter) != nil || !matches(strings.Split(filter, "/"), strings.Split(topic, "/")) {
		return
	}
	if err := p.May(Receive, topic); err != nil {
		t.Errorf("%s: filter %q matches %q: %v", p.role, filter, topic, err)
	}
}

func BenchmarkMay(b *testing.B) {
	p := For(identity(trust.Viewer, "<103795587>", "north"))
	for b.Loop() {
		_ = p.May(Receive, "<103795587>/north/bank/status/rate_limiting")
	}
}
