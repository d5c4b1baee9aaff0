package web

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/history"
	"github.com/weir-sensor/weir/pkg/wire"
)

// The tabs, which are the history's kinds as well.
const (
	tabCPU     = "cpu"
	tabRAM     = "ram"
	tabNetwork = "network"
	tabAlerts  = "alerts"
	tabStatus  = "status" // commands and what became of them
	tabPublic  = "public"
)

var tabs = []string{tabCPU, tabRAM, tabNetwork, tabAlerts, tabStatus, tabPublic}

// Metrics and Events are the history's kinds: what is kept shorter, and what longer.
var (
	Metrics = []string{tabCPU, tabRAM, tabNetwork, tabPublic}
	Events  = []string{tabAlerts, tabStatus}
)

// tails are the topics under a root, and their tabs.
var tails = []struct{ topic, tab string }{
	{"/metrics/cpu", tabCPU},
	{"/metrics/ram", tabRAM},
	{"/metrics/network", tabNetwork},
	{"/alerts", tabAlerts},
	{"/control/command", tabStatus},
	{"/status/rate_limiting", tabStatus},
	{"/status/scaling", tabStatus},
	{"/status/notification", tabStatus},
	{"/status/sensor", tabStatus},
}

// event is a message as browsers get it. Everything in it may be shown as text; of the last members one is set if the payload is what
// its topic promises.
type event struct {
	At    int64  `json:"at"` // Unix milliseconds, when it arrived
	Tab   string `json:"tab"`
	Topic string `json:"topic"`
	Text  string `json:"text"`           // the payload in one line
	Note  string `json:"note,omitempty"` // why it counts for nothing
	ID    int64  `json:"id,omitempty"`   // in the history

	CPU      *wire.CPU      `json:"cpu,omitempty"`
	RAM      *wire.RAM      `json:"ram,omitempty"`
	Network  *wire.Network  `json:"network,omitempty"`
	Alert    *wire.Alert    `json:"alert,omitempty"`
	Command  *wire.Command  `json:"command,omitempty"`
	Status   *wire.Status   `json:"status,omitempty"`
	Presence *wire.Presence `json:"presence,omitempty"`

	root    string
	topic   string // as it came
	refused string // why its sender isn't believed
	payload []byte
}

// split finds a topic's root and tab, "" for public messages' root; ok is false for topics that aren't weir's.
func split(topic string) (root, tab string, ok bool) {
	if topic == "public" || strings.HasPrefix(topic, "public/") {
		return "", tabPublic, true
	}
	for _, t := range tails {
		if root, found := strings.CutSuffix(topic, t.topic); found && validateRoots(root) == nil {
			return root, t.tab, true
		}
	}
	return "", "", false
}

// newEvent reads a message.
func newEvent(at time.Time, msg bus.Message) (*event, bool) {
	root, tab, ok := split(msg.Topic)
	if !ok {
		return nil, false
	}
	e := &event{At: at.UnixMilli(), Tab: tab, Topic: wire.Describe([]byte(msg.Topic)), Text: msg.Describe(), root: root, topic: msg.Topic, payload: msg.Payload}
	if msg.Oversize > 0 {
		e.Note = "too long"
		return e, true
	}
	err := msg.Refused
	if err != nil {
		e.refused = err.Error()
	} else {
		err = e.decode()
	}
	if err != nil {
		e.Note = err.Error()
	}
	return e, true
}

// fromRecord reads what was kept.
func fromRecord(r history.Record) (*event, bool) {
	msg := bus.Message{Topic: r.Topic, Payload: r.Payload}
	if r.Refused != "" { // as little to be believed as it was
		msg.Refused = errors.New(r.Refused)
	}
	e, ok := newEvent(r.At, msg)
	if ok {
		e.ID = r.ID
	}
	return e, ok
}

func (e *event) record() history.Record {
	return history.Record{At: time.UnixMilli(e.At), Root: e.root, Kind: e.Tab, Topic: e.topic, Payload: e.payload, Refused: e.refused, Height: e.height()}
}

func (e *event) decode() (err error) {
	switch tail := strings.TrimPrefix(e.topic, e.root); {
	case e.Tab == tabPublic:
	case tail == "/metrics/cpu":
		err = set(&e.CPU, wire.DecodeCPU, e.payload)
	case tail == "/metrics/ram":
		err = set(&e.RAM, wire.DecodeRAM, e.payload)
	case tail == "/metrics/network":
		err = set(&e.Network, wire.DecodeNetwork, e.payload)
	case tail == "/alerts":
		err = set(&e.Alert, wire.DecodeAlert, e.payload)
	case tail == "/control/command":
		err = set(&e.Command, wire.DecodeCommand, e.payload)
	case tail == "/status/sensor":
		err = set(&e.Presence, wire.DecodePresence, e.payload)
	default:
		err = set(&e.Status, wire.DecodeStatus, e.payload)
	}
	return err
}

// height is what a metric is compared by where not all can be shown; nil for what is none.
func (e *event) height() *float64 {
	switch {
	case e.CPU != nil:
		return &e.CPU.Usage
	case e.RAM != nil:
		return &e.RAM.Usage
	case e.Network != nil:
		x := float64(e.Network.SYNPacketCount)
		return &x
	}
	return nil
}

func set[T any](to **T, decode func([]byte) (T, error), payload []byte) error {
	v, err := decode(payload)
	if err != nil {
		return err
	}
	*to = &v
	return nil
}

// encode is JSON for a browser. All that an event holds can be encoded.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
