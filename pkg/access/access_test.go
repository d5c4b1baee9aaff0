package access

import (
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/trust"
)

// expected says what each role may do with a topic of its own server, and of another of its site: publish, retained, will,
// subscribe and receive. With those of another site or organisation nobody may do anything.
const expected = `
topic                      sensor controller monitor operator viewer broker
own/metrics/cpu            p      s          s       s        s      -
own/metrics/ram            p      s          s       s        s      -
own/metrics/network        p      s          s       s        s      -
own/status/notification    -      s          ps      s        s      -
own/status/sensor          prw    s          s       s        s      -
own/status/rate_limiting   -      prs        s       s        s      -
own/status/scaling         -      prs        s       s        s      -
own/alerts                 -      -          ps      s        s      -
own/control/command        s      s          ps      ps       s      -
own/metrics/disk           -      s          s       s        s      -
own/control/shell          -      -          -       -        -      -
own/alerts/x               -      -          -       -        -      -
own                        -      -          -       -        -      -
other/metrics/cpu          -      -          s       s        s      -
other/metrics/ram          -      -          s       s        s      -
other/metrics/network      -      -          s       s        s      -
other/status/sensor        -      -          s       s        s      -
other/status/rate_limiting -      -          s       s        s      -
other/status/scaling       -      -          s       s        s      -
other/status/notification  -      -          ps      s        s      -
other/alerts               -      -          ps      s        s      -
other/control/command      -      -          ps      ps       s      -
public/news                -      s          s       ps       s      -
$SYS/broker/uptime         -      -          -       -        -      -
$share/g/own/alerts        -      -          -       -        -      -
`

var letters = map[Action]string{Publish: "p", PublishRetained: "r", Will: "w", Subscribe: "s", Receive: "s"}

// identity is one of a role for org/[site/]bank.
func identity(role trust.Role, org, site string) trust.Identity {
	id := trust.Identity{Name: string(role) + "-k3v2q2xd", Role: role, Org: org, Site: site}
	if role.OfOneServer() {
		id.Server = "bank"
	}
	return id
}

func prefix(org, site string) string {
	if site == "" {
		return org + "/"
	}
	return org + "/" + site + "/"
}

func TestTable(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(expected), "\n")
	roles := strings.Fields(lines[0])[1:]
	places := [][2]string{{"<103795587>", ""}, {"<103795587>", "north"}, {"<103795587>", "south"}, {"acme", ""}, {"acme", "north"}}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		for i, role := range roles {
			for _, mine := range places {
				id := identity(trust.Role(role), mine[0], mine[1])
				for _, theirs := range places {
					p := prefix(theirs[0], theirs[1])
					topic := strings.NewReplacer("own", p+"bank", "other", p+"second").Replace(fields[0])
					want := fields[i+1]
					if mine != theirs && !strings.HasPrefix(topic, "public/") {
						want = "-"
					}
					for do, letter := range letters {
						err := May(id, do, topic)
						if (err == nil) != strings.Contains(want, letter) {
							t.Errorf("%s of %v: %s %s: %v", role, mine, do, topic, err)
						}
						if err != nil && strings.Contains(err.Error(), "\n") {
							t.Errorf("not one line: %q", err)
						}
					}
				}
			}
		}
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		role    trust.Role
		site    string
		filters string // allowed; those after ! aren't
	}{
		{trust.Sensor, "", "o/bank/control/command ! o/bank/control/# o/bank/control/+ o/bank/# # o/+/control/command o/bank/status/sensor"},
		{trust.Controller, "", "o/bank/metrics/# o/bank/metrics/+ o/bank/status/# o/bank/status o/bank/control/command public/# public/+/x public" +
			" ! o/bank/alerts o/bank/# o/+/metrics/# o/bank/+/cpu o/bank/control/# +/# publi/# o/bank/metrics/#/x"},
		{trust.Monitor, "north", "o/north/+/metrics/# o/north/+/status/+ o/north/+/alerts o/north/bank/alerts o/north/+/control/command public/#" +
			" ! o/+/+/metrics/# o/north/+/# o/north/# o/north/+/+ +/north/bank/alerts o/+/metrics/# o/south/+/metrics/# o/north/+/control/#" +
			" $share/g/o/north/+/alerts $SYS/# # +"},
		{trust.Monitor, "", "o/+/metrics/# o/+/metrics/cpu o/+/alerts ! o/+/+/metrics/# o/north/+/metrics/# o/north/bank/metrics/# o/# o/+/# o/+/+/cpu"},
		{trust.Operator, "north", "o/north/+/control/command o/north/bank/status/# ! o/north/+/control/# o/north/bank/# o/north/bank"},
		{trust.Viewer, "north", "o/north/+/control/command o/north/+/alerts public/# ! o/+/bank/alerts o/north/bank/+ a+/# o/north/x+/alerts"},
		{trust.Broker, "", "! # public/# o/# o/+/metrics/# $SYS/#"},
	} {
		id := identity(c.role, "o", c.site)
		allowed, denied, _ := strings.Cut(c.filters, "!")
		for _, f := range strings.Fields(allowed) {
			if err := May(id, Subscribe, f); err != nil {
				t.Error(err)
			}
		}
		for _, f := range append(strings.Fields(denied), "", "a\x00") {
			if May(id, Subscribe, f) == nil {
				t.Errorf("%s of %q may subscribe to %s", c.role, c.site, f)
			}
		}
		for _, do := range []Action{Publish, PublishRetained, Receive, Will, Will + 1} {
			for _, f := range append(strings.Fields(allowed), "", "+", "#", "public/+", "public/#", "public/a\x00") {
				if strings.ContainsAny(f, "+#\x00") && May(id, do, f) == nil {
					t.Errorf("%s may %s %s", c.role, do, f)
				}
			}
		}
	}
}

// TestNobody: an identity whose names are no names may do nothing.
func TestNobody(t *testing.T) {
	for name, change := range map[string]func(*trust.Identity){
		"no org": func(id *trust.Identity) { id.Org = "" }, "any org": func(id *trust.Identity) { id.Org = "+" },
		"all": func(id *trust.Identity) { id.Org = "#" }, "public": func(id *trust.Identity) { id.Org = "public" },
		"any site": func(id *trust.Identity) { id.Site = "+" }, "a path": func(id *trust.Identity) { id.Site = "north/bank" },
		"server": func(id *trust.Identity) {
			if id.Server == "" {
				id.Server = "bank"
			} else {
				id.Server = ""
			}
		},
		"role": func(id *trust.Identity) { id.Role = "root" }, "no role": func(id *trust.Identity) { id.Role = "" },
	} {
		for _, role := range trust.Roles {
			id := identity(role, "o", "north")
			change(&id)
			r := RulesFor(id)
			if len(r.Read)+len(r.Write) > 0 {
				t.Errorf("%s: a %s may %+v", name, role, r)
			}
		}
	}
	id := identity(trust.Sensor, "o", "north")
	if id.Server = "metrics"; len(RulesFor(id).Write) > 0 {
		t.Error("a server named metrics publishes")
	}
}
