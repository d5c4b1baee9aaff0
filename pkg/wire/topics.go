// Package wire is the contract between weir's components and everybody else on the broker: topics, payloads, their
// limits and their codec. It is pure: no clock, no network, no files.
package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Root names one protected server on the broker. Its topic prefix is ORG/SITE/SERVER, SITE left out when empty.
type Root struct {
	Org    string
	Site   string
	Server string
}

// DefaultRoot is the customer's own; the angle brackets are literal.
var DefaultRoot = Root{Org: "<103795587>", Server: "bank_server"}

// PublicFilter matches the public messages. They are shown and never acted on.
const PublicFilter = "public/#"

// Validate reports a root that can't be a topic prefix on every broker.
func (r Root) Validate() error {
	errs := []error{
		validateLevel("org", r.Org, false),
		validateLevel("site", r.Site, true),
		validateLevel("server", r.Server, false),
	}
	if org, _, _ := strings.Cut(PublicFilter, "/"); r.Org == org {
		errs = append(errs, fmt.Errorf("org %q is where public messages are: choose another name", r.Org))
	}
	if slices.Contains(ReservedServers, r.Server) {
		errs = append(errs, fmt.Errorf("server %q can't be told from a topic: choose another name", r.Server))
	}
	return errors.Join(errs...)
}

// ReservedServers are no servers' names. The site's level is left out when there is none, so ORG/+/metrics/# of the servers without a
// site would match ORG/north/metrics/alerts: the alerts of a server of the site north that is named metrics.
var ReservedServers = []string{"metrics", "status"}

// validateLevel refuses what MQTT reserves (section 4.7 of MQTT 3.1.1) and what NATS takes for a wildcard.
func validateLevel(name, level string, optional bool) error {
	switch {
	case level == "" && optional:
		return nil
	case level == "":
		return fmt.Errorf("%s is empty: give it a name", name)
	case strings.ContainsAny(level, "/+#\x00"):
		return fmt.Errorf("%s %q holds '/', '+', '#' or NUL, which MQTT reserves: choose another name", name, level)
	case strings.ContainsFunc(level, unicode.IsControl) || !utf8.ValidString(level):
		return fmt.Errorf("%s %q holds a control character or isn't UTF-8: choose another name", name, level)
	case level == ">" || level == "*" || strings.HasPrefix(level, "$"):
		return fmt.Errorf("%s %q is reserved by some brokers: choose another name", name, level)
	case len(level) > maxLevelBytes:
		return fmt.Errorf("%s is longer than %d bytes", name, maxLevelBytes)
	}
	return nil
}

const maxLevelBytes = 128

// String is the topic prefix, without a trailing slash.
func (r Root) String() string {
	if r.Site == "" {
		return r.Org + "/" + r.Server
	}
	return r.Org + "/" + r.Site + "/" + r.Server
}

// Topics under the root.
func (r Root) MetricsCPU() string         { return r.String() + "/metrics/cpu" }
func (r Root) MetricsRAM() string         { return r.String() + "/metrics/ram" }
func (r Root) MetricsNetwork() string     { return r.String() + "/metrics/network" }
func (r Root) Metrics() string            { return r.String() + "/metrics/#" }
func (r Root) Alerts() string             { return r.String() + "/alerts" }
func (r Root) Command() string            { return r.String() + "/control/command" }
func (r Root) StatusRateLimiting() string { return r.String() + "/status/rate_limiting" }
func (r Root) StatusScaling() string      { return r.String() + "/status/scaling" }
func (r Root) StatusNotification() string { return r.String() + "/status/notification" }
func (r Root) StatusSensor() string       { return r.String() + "/status/sensor" }
func (r Root) Status() string             { return r.String() + "/status/#" }
