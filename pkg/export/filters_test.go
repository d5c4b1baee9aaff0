package export

import (
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/access"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// filters are what somebody would try who wants to read more.
func filters(root wire.Root) []string {
	site := wire.Root{Org: root.Org, Site: root.Site, Server: "+"}
	return []string{
		"#", "+/#", org + "/#", "+/+/metrics/#", org + "/+/metrics/#", org + "/+/+/metrics/#", org + "/+/alerts", org + "/north/#",
		org + "/south/+/alerts", "acme/#", "public/#", "$SYS/#", "$share/g/#", "$MQTT/#", "$MQTT/sub/#", "$MQTT/sub/+", "+/sub/#",
		"$MQTT/msgs/#", "$MQTT/rmsgs", "$MQTT/rmsgs/#", "$JS/#", "$JS/API/#", "_INBOX/#", ">", "*", org + "/>", org + "/*/metrics/>",
		root.Metrics(), root.Status(), root.String() + "/#", root.String() + "/control/+",
		site.Metrics(), site.Status(), site.Alerts(), site.Command(), site.String() + "/#",
	}
}

// filtering: whoever may use a filter is given all that it matches; whoever may not is given nothing that he may not receive.
func (m *matrix) filtering() {
	m.Helper()
	type try struct {
		who    *te.Member
		filter string
		s      *session
	}
	var tries []try
	for i, who := range m.subjects(m.T) {
		root := roots[i/5*2]
		for _, f := range filters(root) {
			s := m.session(m.T, m.address, who)
			token := s.Subscribe(f, 1, nil)
			token.WaitTimeout(10 * time.Second)
			granted := token.Error() == nil
			for _, code := range token.(*mqtt.SubscribeToken).Result() { // paho leaves $share/GROUP/ out of its key
				granted = granted && code <= 2
			}
			if want := access.May(who.Identity, access.Subscribe, f) == nil || slices.Contains(grantAll, m.name); granted != want {
				m.Errorf("%s: %s of %q is told that %s is granted: %v", m.name, who.Role, who.Site, f, granted)
			}
			tries = append(tries, try{who, f, s})
		}
	}
	m.publishers("filtered")
	published := m.published()
	wanted := func(x try, topic string) bool {
		return access.May(x.who.Identity, access.Subscribe, x.filter) == nil && matches(x.filter, topic)
	}
	m.settle(func() bool {
		for _, x := range tries {
			for _, topic := range published {
				if wanted(x, topic) && !x.s.has(topic, "filtered") {
					return false
				}
			}
		}
		return true
	})
	for _, x := range tries {
		m.cells++
		allowed := access.May(x.who.Identity, access.Subscribe, x.filter) == nil
		for _, topic := range published {
			if wanted(x, topic) && !x.s.has(topic, "filtered") {
				m.Errorf("%s: %s of %q isn't given %s under %s", m.name, x.who.Role, x.who.Site, topic, x.filter)
			}
		}
		x.s.mu.Lock()
		for topic := range x.s.got {
			if access.May(x.who.Identity, access.Receive, topic) != nil || !allowed && m.name == "embedded" {
				m.Errorf("%s: %s of %q is given %s under %s", m.name, x.who.Role, x.who.Site, topic, x.filter)
			}
		}
		x.s.mu.Unlock()
		x.s.Disconnect(0)
	}
}
