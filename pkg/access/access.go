// Package access is the one policy of who may do what with a topic. The embedded broker asks it; the configurations for other brokers
// are written from it. It is pure, and knows nothing of time: whether an identity is still good is to be asked of itself.
package access

import (
	"fmt"
	"strings"

	"github.com/weir-sensor/weir/pkg/trust"
)

// Action is what somebody wants to do with a topic.
type Action uint8

// The actions. A retained will takes both Will and PublishRetained.
const (
	Publish         Action = iota
	PublishRetained        // to be kept for whoever subscribes later
	Subscribe              // to a filter, every topic of which must be allowed
	Receive                // one topic
	Will                   // to be published by the broker when the client is lost
)

func (a Action) String() string {
	switch a {
	case Publish:
		return "publish"
	case PublishRetained:
		return "publish retained"
	case Subscribe:
		return "subscribe to"
	case Receive:
		return "receive"
	case Will:
		return "leave a will on"
	}
	return fmt.Sprintf("do %d with", uint8(a))
}

// May is nil if an identity may do something with a topic, or a filter, and says in one line why not otherwise. Who asks often keeps
// what For gives.
func May(id trust.Identity, do Action, topic string) error { return For(id).May(do, topic) }

// Policy is what one identity may do.
type Policy struct {
	name  string
	role  trust.Role
	rules Rules
}

// For works out an identity's policy. One whose names can't be told apart from topics may do nothing.
func For(id trust.Identity) Policy {
	return Policy{id.Name, id.Role, RulesFor(id)}
}

// May is the package's May.
func (p Policy) May(do Action, topic string) error {
	if why := malformed(topic, do == Subscribe); why != "" {
		return fmt.Errorf("topic %.128q %s", topic, why)
	}
	if !p.allows(do, topic) {
		return fmt.Errorf("%s %.64s may not %s %.128q", p.role, p.name, do, topic)
	}
	return nil
}

func (p Policy) allows(do Action, topic string) bool {
	if do == Subscribe || do == Receive {
		for _, f := range p.rules.Read {
			if covers(f, topic) {
				return true
			}
		}
		return false
	}
	for _, f := range p.rules.Never {
		if covers(f, topic) {
			return false
		}
	}
	for _, w := range p.rules.Write {
		if covers(w.Filter, topic) {
			return do == Publish || do == PublishRetained && w.Retained || do == Will && w.Will
		}
	}
	return false
}

// malformed says what is wrong with a topic or a filter (MQTT 3.1.1, section 4.7), or nothing. Names with $ are the broker's own, and
// $share/GROUP/FILTER would hide a filter.
func malformed(topic string, filter bool) string {
	switch {
	case topic == "":
		return "is empty"
	case strings.HasPrefix(topic, "$"):
		return "begins with $, which is the broker's own"
	case strings.Contains(topic, "\x00"):
		return "holds NUL"
	case !filter && strings.ContainsAny(topic, "+#"):
		return "holds a wildcard"
	case !filter:
		return ""
	}
	for rest, more := topic, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return "is no filter: '+' stands for a whole level, '#' for the last ones"
		}
	}
	return ""
}

// covers tells whether every topic that the narrow filter matches is matched by the wide one.
func covers(wide, narrow string) bool {
	for {
		w, wrest, wmore := strings.Cut(wide, "/")
		if w == "#" {
			return true
		}
		n, nrest, nmore := strings.Cut(narrow, "/")
		if n == "#" || w != n && w != "+" {
			return false
		}
		if !nmore {
			return !wmore || wrest == "#" // a/# matches a, too
		}
		if !wmore {
			return false
		}
		wide, narrow = wrest, nrest
	}
}
