package monitor

import (
	"context"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// testNotifier does what test_alert says, and answers it. It waits for receivers, so it has a goroutine of its own.
func (m *Monitor) testNotifier(c wire.Command) {
	now := time.Now()
	s := wire.Status{Command: c.Command, Status: wire.Success, ID: c.ID, Origin: c.Origin, SignedBy: c.SignedBy}
	detail, err := m.notifier.Test(m.running, now, sender(c))
	s.Detail = detail
	if err != nil {
		s.Status, s.Detail = wire.Failure, err.Error()
		m.warnings.Warn(now, "a test of the notifiers failed", "origin", c.Origin, "signed_by", c.SignedBy, "err", err)
	} else {
		m.log.Info("a test was sent by all notifiers", "origin", c.Origin, "signed_by", c.SignedBy, "reason", c.Reason)
	}
	s.Timestamp = wire.Timestamp(time.Now())
	payload, err := wire.Encode(s)
	if err == nil {
		// Nobody's state, so not retained.
		err = m.bus.Publish(context.Background(), bus.Publication{Topic: m.cfg.Root.StatusNotification(), Payload: payload, Delivery: bus.Eventually})
	}
	if err != nil {
		m.warnings.Warn(now, "status not sent", "topic", m.cfg.Root.StatusNotification(), "err", err)
		return
	}
	m.out.Printf("Published status: %s to %s", wire.Describe(payload), m.cfg.Root.StatusNotification())
}

// sender is who asked, as far as that is known.
func sender(c wire.Command) string {
	if c.SignedBy != "" {
		return c.SignedBy
	}
	return wire.Describe([]byte(c.Origin))
}
