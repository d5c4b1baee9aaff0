package sensor

import (
	"context"
	"errors"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// outbox is how many messages may wait while the network is stuck. Metrics that are older are worth nothing.
const outbox = 8

// message is a payload on its way.
type message struct {
	topic string
	value any
	early bool
}

// post hands over a message without waiting: sampling must go on while the network is stuck.
func (s *Sensor) post(m message) {
	select {
	case s.out <- m:
	default:
		s.lost(m, "the network is stuck")
	}
}

// publish sends what is posted until ctx ends.
func (s *Sensor) publish(ctx context.Context) {
	for {
		select {
		case m := <-s.out:
			s.send(ctx, m)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Sensor) send(ctx context.Context, m message) {
	payload, err := wire.Encode(m.value)
	if err == nil {
		err = s.bus.Publish(ctx, bus.Publication{Topic: m.topic, Payload: payload, Delivery: bus.BestEffort})
	}
	switch {
	case err == nil:
		s.log.Debug("published", "topic", m.topic, "bytes", len(payload), "early", m.early)
	case ctx.Err() != nil: // it doesn't matter any more
	case errors.Is(err, bus.ErrAway):
		s.missed.Store(s.missed.Load() || m.early) // the bus has said why
	default:
		s.lost(m, err.Error())
	}
}

// lost complains, and sees to it that an early report is made again.
func (s *Sensor) lost(m message, why string) {
	if m.early {
		s.missed.Store(true)
	}
	s.lostCount.Add(1)
	s.complaints.Warn(time.Now(), "metrics lost", "topic", m.topic, "err", why)
}
