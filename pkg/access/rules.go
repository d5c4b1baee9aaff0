package access

import (
	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Rules are one identity's, as filters: what isn't there is denied. They are for those who write another broker's configuration.
type Rules struct {
	Read  []string // what may be subscribed to
	Write []Write
	Never []string // what may not be written, whatever Write says
}

// Write is where an identity may publish.
type Write struct {
	Filter   string
	Retained bool // may be retained
	Will     bool // may be left as a will
}

// anyServer stands at the level of the server in rules for a site.
const anyServer = "+"

// RulesFor works out an identity's rules.
func RulesFor(id trust.Identity) Rules {
	root := wire.Root{Org: id.Org, Site: id.Site, Server: id.Server}
	site := root
	if !id.Role.OfOneServer() {
		site.Server = "any"
	}
	if id.Role.OfOneServer() == (id.Server == "") || site.Validate() != nil {
		return Rules{} // names that are somebody else's topics, too, or that no broker takes
	}
	if !id.Role.OfOneServer() {
		root.Server = anyServer
	}
	switch id.Role {
	case trust.Sensor:
		return Rules{
			Read: []string{root.Command()},
			Write: []Write{
				{Filter: root.MetricsCPU()}, {Filter: root.MetricsRAM()}, {Filter: root.MetricsNetwork()},
				{Filter: root.StatusSensor(), Retained: true, Will: true},
			},
		}
	case trust.Controller:
		return Rules{
			Read:  []string{root.Command(), root.Metrics(), root.Status(), wire.PublicFilter},
			Write: []Write{{Filter: root.StatusRateLimiting(), Retained: true}, {Filter: root.StatusScaling(), Retained: true}},
		}
	case trust.Monitor:
		return Rules{
			Read:  []string{root.Metrics(), root.Status(), root.Alerts(), root.Command(), wire.PublicFilter}, // it tells of forged commands
			Write: []Write{{Filter: root.Alerts()}, {Filter: root.Command()}, {Filter: root.StatusNotification()}},
			Never: reservedServers(root),
		}
	case trust.Operator:
		return Rules{
			Read:  everything(root),
			Write: []Write{{Filter: root.Command()}, {Filter: wire.PublicFilter}},
			Never: reservedServers(root),
		}
	case trust.Viewer:
		return Rules{Read: everything(root)}
	}
	return Rules{}
}

func everything(root wire.Root) []string {
	return []string{root.Metrics(), root.Alerts(), root.Command(), root.Status(), wire.PublicFilter}
}

// reservedServers keep a site's people from what others could take for theirs.
func reservedServers(site wire.Root) []string {
	var never []string
	for _, name := range wire.ReservedServers {
		site.Server = name
		never = append(never, site.String()+"/#")
	}
	return never
}
