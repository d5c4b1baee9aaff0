package export

import "github.com/weir-sensor/weir/pkg/access"

// Gap is what a broker lets pass that pkg/access refuses, and that no configuration can stop. The embedded broker has none. Weir's
// components ignore retained commands and verify signatures, on any broker.
type Gap struct {
	Broker string
	Do     access.Action // by whom Publish is allowed to
}

// Gaps in the decisions about topics: the tests find these and no others. EMQX's was read from its rules' grammar. docs/brokers.md
// tells of them, and of the rest: certificates and client IDs.
var Gaps = []Gap{
	{"mosquitto", access.PublishRetained},
	{"mosquitto", access.Will},
	{"nats", access.PublishRetained},
	{"nats", access.Will},
	{"emqx", access.Will},
}
