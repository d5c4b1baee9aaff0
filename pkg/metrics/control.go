package metrics

import (
	"context"
	"time"

	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/monitor"
	"github.com/weir-sensor/weir/pkg/notify"
	"github.com/weir-sensor/weir/pkg/wire"
)

var (
	commands   = serverCounter("commands_total", "Commands that reached the controller, by what came of them.", "command", "status")
	limiting   = serverGauge("controller_limiting", "Whether the controller has rate limiting on.")
	leaseEnd   = serverGauge("controller_lease_end_timestamp_seconds", "When the limit ends unless its lease is renewed, in Unix seconds; 0 while it is off.")
	renewals   = serverCounter("lease_renewals_total", "How often the controller renewed a limit's lease.")
	seesLimits = serverGauge("controller_datapath_readable", "Whether the controller can read the datapath.")
)

// Controller exports a controller's.
func (e *Exporter) Controller(stats func(context.Context) (controller.Stats, error)) {
	e.add("controller", func(ctx context.Context, emit send) error {
		s, err := stats(ctx)
		if err != nil {
			return err
		}
		for _, name := range append([]string{controller.Unknown}, wire.Commands...) {
			for _, status := range []string{wire.Success, wire.Failure, controller.Waiting} {
				emit(commands, float64(s.Commands[controller.Result{Command: name, Status: status}]), name, status)
			}
		}
		end := 0.0
		if s.On {
			end = wire.Timestamp(s.Until)
		}
		emit(limiting, flag(s.On))
		emit(leaseEnd, end)
		emit(renewals, float64(s.Renewals))
		emit(seesLimits, flag(s.Unread == nil))
		return nil
	})
}

var (
	alertRaised = serverGauge("alert_raised", "Whether the monitor's alert of a metric stands.", "metric")
	alerts      = serverCounter("alerts_total", "How often the monitor's alert of a metric was raised.", "metric")
	alertValue  = serverGauge("alert_value", "The metric's last value, in its own unit.", "metric")
	alertLevel  = serverGauge("alert_level", "Over which value the alert is raised: the threshold, or a spike over the normal level.", "metric")
	alertNormal = serverGauge("alert_normal", "The normal level of the metric as it was learned; 0 while it isn't known.", "metric")
	heard       = serverGauge("monitor_heard_timestamp_seconds", "When the monitor heard of its sensor last, in Unix seconds; 0 for never.")
	silent      = serverGauge("monitor_sensor_silent", "Whether the sensor was heard, and isn't any more.")
	requested   = serverCounter("monitor_commands_total", "Commands that the monitor has sent.", "command")
)

// Monitor exports a monitor's.
func (e *Exporter) Monitor(stats func() monitor.Stats) {
	e.add("monitor", func(_ context.Context, emit send) error {
		s := stats()
		for _, a := range s.Alerts {
			emit(alertRaised, flag(a.Raised), a.Metric)
			emit(alerts, float64(a.Times), a.Metric)
			emit(alertValue, a.Value, a.Metric)
			emit(alertLevel, a.Level, a.Metric)
			emit(alertNormal, a.Normal, a.Metric)
		}
		for _, name := range []string{wire.EnableRateLimiting, wire.DisableRateLimiting, wire.ScaleUpServers, wire.ScaleDownServers} {
			emit(requested, float64(s.Sent[name]), name)
		}
		emit(heard, unix(s.Heard))
		emit(silent, flag(s.Silent))
		return nil
	})
}

// unix is 0 for no time.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return wire.Timestamp(t)
}

var (
	notifications = serverCounter("notifications_total", "Attempts to notify somebody of alerts, by what came of them.", "notifier", "result")
	notifyQueue   = serverGauge("notifications_queued", "Notifications that wait.", "notifier")
	notifyLost    = serverCounter("notifications_lost_total", "Notifications given up, since too many waited or the receiver refused them.", "notifier")
	notifyFailing = serverGauge("notifier_failing", "Whether the last attempt of a notifier failed.", "notifier")
)

// Notifiers exports those of a monitor.
func (e *Exporter) Notifiers(stats func() []notify.Stats) {
	e.add("notifiers", func(_ context.Context, emit send) error {
		for _, n := range stats() {
			emit(notifications, float64(n.Sent), n.Name, wire.Success)
			emit(notifications, float64(n.Failed), n.Name, wire.Failure)
			emit(notifyQueue, float64(n.Queued), n.Name)
			emit(notifyLost, float64(n.Lost), n.Name)
			emit(notifyFailing, flag(n.Failing), n.Name)
		}
		return nil
	})
}
