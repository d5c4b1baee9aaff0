package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Event is what a source has seen, and when it came: the clock of a sender decides nothing.
type Event struct {
	At    time.Time
	Value any // of wire: CPU, RAM, Network, Presence, Alert, Status; or Link, Gone or Unreadable

	Retained bool // it was published some time before
}

// Link is a change of the connection to the broker.
type Link struct{ Up bool }

// Gone is the end of an interface's datapath, or the reason why there is none.
type Gone struct {
	Interface string
	Err       error
}

// Unreadable is a message that says nothing.
type Unreadable struct {
	Topic string
	Err   error
}

// Read makes an event of a message. It returns false for messages that aren't meant for people who watch.
func Read(root wire.Root, now time.Time, m bus.Message) (Event, bool) {
	e := Event{At: now, Retained: m.Retained}
	var err error
	switch m.Topic {
	case root.MetricsCPU():
		e.Value, err = fresh(wire.DecodeCPU, m)
	case root.MetricsRAM():
		e.Value, err = fresh(wire.DecodeRAM, m)
	case root.MetricsNetwork():
		e.Value, err = fresh(wire.DecodeNetwork, m)
	case root.Alerts():
		e.Value, err = fresh(wire.DecodeAlert, m)
	case root.StatusSensor():
		e.Value, err = decoded(wire.DecodePresence, m)
	case root.StatusRateLimiting(), root.StatusScaling():
		e.Value, err = decoded(wire.DecodeStatus, m)
	default:
		return e, false
	}
	if err != nil {
		e.Value = Unreadable{strings.TrimPrefix(m.Topic, root.String()+"/"), err}
	}
	return e, true
}

func decoded[T any](decode func([]byte) (T, error), m bus.Message) (any, error) {
	if m.Oversize > 0 {
		return nil, fmt.Errorf("%d bytes, at most %d are read", m.Oversize, wire.MaxPayload)
	}
	if m.Refused != nil {
		return nil, m.Refused
	}
	return decode(m.Payload)
}

// fresh refuses what is of unknown age.
func fresh[T any](decode func([]byte) (T, error), m bus.Message) (any, error) {
	if m.Retained {
		return nil, fmt.Errorf("retained, so of unknown age")
	}
	return decoded(decode, m)
}
