package sensor

import (
	"context"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Will is what the broker says when the connection of a sensor dies: to be given to bus.Connect.
func Will(root wire.Root, transport string) bus.Publication {
	payload, _ := wire.Encode(wire.Presence{State: wire.Offline, Will: true, Transport: transport}) // can't fail: some words
	return bus.Publication{Topic: root.StatusSensor(), Payload: payload, Retain: true, Delivery: bus.Eventually}
}

// publishPresence never waits: the message is queued until the broker is there, and only the newest is kept.
func (s *Sensor) publishPresence(now time.Time, state string) {
	warning := ""
	if s.cfg.Warning != nil {
		warning = s.cfg.Warning()
	}
	payload, err := wire.Encode(wire.Presence{
		State:     state,
		Timestamp: wire.Timestamp(now),
		Version:   s.cfg.Version,
		Host:      s.cfg.Host,
		Interface: s.cfg.Interface,
		Tier:      s.cfg.Tier,
		Transport: s.cfg.Transport,
		Warning:   warning,
	})
	if err == nil {
		err = s.bus.Publish(context.Background(), bus.Publication{
			Topic: s.cfg.Root.StatusSensor(), Payload: payload, Retain: true, Delivery: bus.Eventually,
		})
	}
	if err != nil {
		s.complaints.Warn(now, "presence not published", "state", state, "err", err)
	}
}

// watchPresence contradicts whoever says that this sensor is offline. The will of a connection that was lost may come
// after the new one has said online, and would stand for good.
func (s *Sensor) watchPresence() {
	err := s.bus.Subscribe(s.cfg.Root.StatusSensor(), func(m bus.Message) {
		if p, err := wire.DecodePresence(m.Payload); err == nil && p.State == wire.Offline {
			s.denied.Store(true)
		}
	})
	if err != nil {
		s.log.Warn("a stale offline can't be seen and corrected", "err", err)
	}
}

// presence says online at every connect, and once a second at most to those who say otherwise.
type presence struct {
	connected bool
	last      time.Time
}

const (
	presencePause = time.Second
	deafPause     = time.Minute
)

// due tells whether to say it now; denied is whether somebody has said offline since, and remains so until due says true.
func (p *presence) due(now time.Time, connected, denied bool) bool {
	fresh := connected && !p.connected
	p.connected = connected
	if !connected || !fresh && (!denied || now.Sub(p.last) < presencePause) {
		return false
	}
	p.last = now
	return true
}
