package monitor

import "github.com/weir-sensor/weir/pkg/wire"

// metric is one watched number.
type metric uint8

const (
	metricCPU metric = iota
	metricRAM
	metricSYN
	metricConnections
	numMetrics
)

var (
	metricNames = [numMetrics]string{"cpu_usage", "ram_usage", "syn_packet_count", "active_tcp_connections"}
	alertTexts  = [numMetrics]string{
		"CPU usage exceeded threshold",
		"RAM usage exceeded threshold",
		"SYN packet count exceeded threshold",
		"TCP connections exceeded threshold",
	}
)

func (m metric) String() string { return metricNames[m] }

// traffic tells which alerts are met by rate limiting; the others are met by scaling.
func (m metric) traffic() bool { return m == metricSYN || m == metricConnections }

// alert puts an event into the wire's words. The text is the same in every state, the contract fixes how it starts;
// the state says which it is.
func (m metric) alert(e Event) wire.Alert {
	a := wire.Alert{
		Timestamp: wire.Timestamp(e.At),
		Alert:     alertTexts[m],
		State:     e.State,
		Metric:    m.String(),
		Value:     e.Value,
		Threshold: e.Level,
		Cause:     e.Cause,
		Normal:    e.Normal,
	}
	if !e.Since.IsZero() {
		a.Since = wire.Timestamp(e.Since)
	}
	return a
}
