package metrics

import (
	"context"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/broker"
	"github.com/weir-sensor/weir/pkg/history"
	"github.com/weir-sensor/weir/pkg/web"
)

var (
	connected       = gauge("mqtt_connected", "Whether a component is connected to the broker.", "component")
	connects        = counter("mqtt_connects_total", "How often a component connected to the broker.", "component")
	connectFailures = counter("mqtt_connect_failures_total", "Attempts to connect to the broker that failed.", "component")
	mqttSent        = counter("mqtt_messages_sent_total", "Messages that a component has sent.", "component")
	mqttReceived    = counter("mqtt_messages_received_total", "Messages that a component has received.", "component")
	mqttRefused     = counter("mqtt_messages_refused_total", "Messages that weren't to be believed: unsigned, altered, old or of somebody who may not say that.", "component")
	mqttLost        = counter("mqtt_messages_lost_total", "Messages that came faster than they were handled (in), or waited for the broker for too long (out).", "component", "direction")
	mqttQueued      = gauge("mqtt_messages_queued", "Messages that wait for the broker.", "component")
)

// Bus exports a component's connection to the broker.
func (e *Exporter) Bus(component string, stats func() bus.Stats) {
	e.add("mqtt_"+component, func(_ context.Context, emit send) error {
		s := stats()
		emit(connected, flag(s.Connected), component)
		emit(connects, float64(s.Connects), component)
		emit(connectFailures, float64(s.Failures), component)
		emit(mqttSent, float64(s.Sent), component)
		emit(mqttReceived, float64(s.Received), component)
		emit(mqttRefused, float64(s.Refused), component)
		emit(mqttLost, float64(s.LostIn), component, "in")
		emit(mqttLost, float64(s.LostOut), component, "out")
		emit(mqttQueued, float64(s.Queued), component)
		return nil
	})
}

var certificateEnd = gauge("certificate_expiry_timestamp_seconds", "When a component's certificate ends, in Unix seconds.", "component")

// Certificate exports the end of a component's certificate. It may be exchanged meanwhile.
func (e *Exporter) Certificate(component string, end func() (time.Time, error)) {
	e.add("certificate_"+component, func(_ context.Context, emit send) error {
		t, err := end()
		if err == nil {
			emit(certificateEnd, unix(t), component)
		}
		return err
	})
}

var (
	brokerClients       = gauge("broker_clients", "Clients that are connected to the embedded broker.")
	brokerSubscriptions = gauge("broker_subscriptions", "Subscriptions at the embedded broker.")
	brokerRetained      = gauge("broker_retained_messages", "Messages that the embedded broker retains.")
	brokerReceived      = counter("broker_messages_received_total", "Messages that the embedded broker has received.")
	brokerSent          = counter("broker_messages_sent_total", "Messages that the embedded broker has sent.")
	brokerDropped       = counter("broker_messages_dropped_total", "Messages that readers were too slow for.")
	brokerRefused       = counter("broker_refusals_total", "Connections, messages and subscriptions that the embedded broker refused.")
)

// Broker exports the embedded broker's.
func (e *Exporter) Broker(stats func() broker.Stats) {
	e.add("broker", func(_ context.Context, emit send) error {
		s := stats()
		emit(brokerClients, float64(s.Clients))
		emit(brokerSubscriptions, float64(s.Subscriptions))
		emit(brokerRetained, float64(s.Retained))
		emit(brokerReceived, float64(s.Received))
		emit(brokerSent, float64(s.Sent))
		emit(brokerDropped, float64(s.Dropped))
		emit(brokerRefused, float64(s.Refused))
		return nil
	})
}

var (
	webViewers   = gauge("web_pages_open", "Pages that are open in browsers.")
	webServers   = gauge("web_servers", "Servers that the page knows of.")
	historyBytes = gauge("history_size_bytes", "Size of the page's history on disk.")
	historyLost  = counter("history_records_lost_total", "Messages that the history couldn't keep.")
)

// Web exports the page's.
func (e *Exporter) Web(stats func() web.Stats) {
	e.add("web", func(_ context.Context, emit send) error {
		s := stats()
		emit(webViewers, float64(s.Viewers))
		emit(webServers, float64(s.Servers))
		return nil
	})
}

// History exports the history's.
func (e *Exporter) History(stats func() (history.Stats, error)) {
	e.add("history", func(_ context.Context, emit send) error {
		s, err := stats()
		if err != nil {
			return err
		}
		emit(historyBytes, float64(s.Bytes))
		emit(historyLost, float64(s.Lost))
		return nil
	})
}
