package monitor

import (
	"context"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// act starts what was decided. The caller holds the lock, so nothing here waits.
func (m *Monitor) act(d Decision) {
	for _, r := range d.Send {
		select {
		case m.commands <- r:
		default:
			m.mitigation.Lost(time.Now(), r.ID)
			m.warnings.Warn(time.Now(), "command put off: earlier ones still wait for the broker", "command", r.Command)
		}
	}
	if d.Note != "" {
		m.log.Warn(d.Note)
	}
}

// sendCommands publishes one command at a time, which keeps their order. They aren't queued for a broker that is away:
// by the time it is back another one may be right.
func (m *Monitor) sendCommands(ctx context.Context) {
	for {
		select {
		case r := <-m.commands:
			m.sendCommand(ctx, r)
		case <-ctx.Done():
			return
		}
	}
}

func (m *Monitor) sendCommand(ctx context.Context, r Request) {
	payload, err := wire.Encode(wire.Command{
		Command:   r.Command,
		ID:        r.ID,
		Origin:    m.cfg.Origin,
		Reason:    r.Reason,
		Timestamp: wire.Timestamp(time.Now()),
	})
	if err == nil {
		ack, cancel := context.WithTimeout(ctx, m.cfg.StatusTimeout)
		err = m.bus.Publish(ack, bus.Publication{Topic: m.cfg.Root.Command(), Payload: payload, Delivery: bus.Confirmed})
		cancel()
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		m.mu.Lock()
		m.mitigation.Lost(time.Now(), r.ID)
		m.mu.Unlock()
		m.warnings.Warn(time.Now(), "command not sent", "command", r.Command, "err", err)
		return
	}
	m.mu.Lock()
	m.sent[r.Command]++
	m.mu.Unlock()
	m.log.Info("command sent", "command", r.Command, "id", r.ID, "reason", r.Reason)
	m.out.Printf("Published command: %s to %s", wire.Describe(payload), m.cfg.Root.Command())
}

// alert tells everybody. The caller holds the lock.
func (m *Monitor) alert(a wire.Alert) {
	if a.State == wire.AlertRaised {
		m.times[a.Metric]++
	}
	m.notifier.Notify(a)
	payload, err := wire.Encode(a)
	if err == nil {
		// Eventually doesn't wait: the broker gets it when it is there.
		err = m.bus.Publish(context.Background(), bus.Publication{Topic: m.cfg.Root.Alerts(), Payload: payload, Delivery: bus.Eventually})
	}
	if err != nil {
		m.warnings.Warn(time.Now(), "alert not sent", "alert", a.Alert, "err", err)
		return
	}
	m.log.Warn(a.Alert, "state", a.State, "value", a.Value, "threshold", a.Threshold, "cause", a.Cause)
	m.out.Printf("Published alert: %s to %s", wire.Describe(payload), m.cfg.Root.Alerts())
}
