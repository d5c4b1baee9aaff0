package top

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Document is a picture for scripts. The names are those of the wire's payloads, and stay.
type Document struct {
	Server string `json:"server"` // the topics' root
	From   string `json:"from"`   // local or broker
	State  State  `json:"state"`
	Detail string `json:"detail"` // for people

	CPUUsage *float64 `json:"cpu_usage,omitempty"` // percent
	RAMUsage *float64 `json:"ram_usage,omitempty"` // percent
	wire.Network

	Broker       bool           `json:"broker"`                  // it is there: else alerts and rate_limiting aren't known
	Alerts       []wire.Alert   `json:"alerts"`                  // seen since this command was started, newest first
	RateLimiting *wire.Status   `json:"rate_limiting,omitempty"` // the controller's last word
	Sensor       *wire.Presence `json:"sensor,omitempty"`
}

// documents are one for each interface, or one of all if the metrics come by the broker.
func (p *Picture) documents(now time.Time) []Document {
	var all []Document
	for _, f := range p.faces {
		state, detail := p.state(f, now)
		d := Document{
			Server: p.cfg.Root.String(), From: p.cfg.from(), State: state, Detail: detail, Network: f.network,
			CPUUsage: p.cpu.known(), RAMUsage: p.ram.known(),
			Broker: p.linked, Alerts: []wire.Alert{}, RateLimiting: p.limiting, Sensor: p.presence,
		}
		for _, a := range p.alerts {
			d.Alerts = append(d.Alerts, a.Alert)
		}
		all = append(all, d)
	}
	return all
}

func (g *gauge) known() *float64 {
	if g.at.IsZero() {
		return nil
	}
	return &g.value
}

// encode writes a document as one line that may be shown in a terminal: what isn't printable is escaped.
func (d Document) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var out bytes.Buffer
	for _, r := range b.String() { // outside of strings JSON is ASCII
		switch {
		case r < 0x80 && r != 0x7f || unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes(), nil
}
