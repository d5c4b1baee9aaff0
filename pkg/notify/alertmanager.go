package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// alertmanager posts to version 2 of its API: an alert is raised anew before it would end by itself, and ends when it was cleared.
// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
type alertmanager struct {
	poster
	now func() time.Time
}

const (
	amRefresh = time.Minute
	// amLife outlasts a few refreshes that don't get through. If the monitor dies, its alerts end after it.
	amLife = 5 * time.Minute
	// amTestLife is a test's.
	amTestLife = time.Minute
)

func newAlertmanager(address *url.URL, password string) *alertmanager {
	u := *address.JoinPath("api/v2/alerts")
	u.User = nil
	a := &alertmanager{poster{label: "alertmanager " + address.Host, url: u.String()}, time.Now}
	if name := address.User.Username(); name != "" {
		a.authorise = func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	return a
}

func (a *alertmanager) refreshes() time.Duration { return amRefresh }

// amAlert is postableAlert of the API.
type amAlert struct {
	Labels      map[string]string `json:"labels"` // which alert it is: nothing that changes while it stands
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// amNames are Alertmanager's for the metrics.
var amNames = map[string]string{
	"cpu_usage": "WeirCPUUsage", "ram_usage": "WeirRAMUsage", "syn_packet_count": "WeirSYNFlood",
	"active_tcp_connections": "WeirTCPConnections", "refused_commands": "WeirCommandsRefused", testMetric: "WeirTest",
}

func (a *alertmanager) alert(n Notice) amAlert {
	name := amNames[n.Alert.Metric]
	if name == "" {
		name = "WeirAlert"
	}
	out := amAlert{
		Labels: map[string]string{
			"alertname": name, "severity": n.Severity, "metric": n.Alert.Metric, "org": n.Root.Org, "server": n.Root.Server, "service": "weir",
		},
		Annotations: map[string]string{
			"summary": n.Alert.Alert + " on " + n.Root.Server, "value": number(n.Alert.Value), "level": number(n.Alert.Threshold), "cause": n.Alert.Cause,
		},
		StartsAt: at(n.Alert.Since, n.Alert.Timestamp),
	}
	if n.Root.Site != "" {
		out.Labels["site"] = n.Root.Site
	}
	switch {
	case n.cleared():
		out.EndsAt = at(n.Alert.Timestamp, 0)
	case n.Test:
		out.EndsAt = a.now().Add(amTestLife)
	default:
		out.EndsAt = a.now().Add(amLife)
	}
	return out
}

func (a *alertmanager) send(ctx context.Context, n Notice) error {
	body, err := json.Marshal([]amAlert{a.alert(n)})
	if err != nil {
		return err
	}
	return a.post(ctx, body, nil)
}

// at converts the wire's Unix seconds, or the others if those are 0.
func at(seconds, otherwise float64) time.Time {
	if seconds == 0 {
		seconds = otherwise
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC()
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
