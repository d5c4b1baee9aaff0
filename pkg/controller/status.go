package controller

import (
	"encoding/json"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// status says beside what became of a command whose limit is in force: the last command may be another's that failed.
type status struct {
	wire.Status
	Owner    string `json:"owner,omitempty"`     // origin of the limit in force
	FixedEnd bool   `json:"fixed_end,omitempty"` // it ends at Until, whether or not the flood goes on
}

// decodeStatus reads a status of a controller.
func decodeStatus(payload []byte) (status, error) {
	s, err := wire.DecodeStatus(payload)
	if err != nil {
		return status{}, err
	}
	out := status{Status: s}
	var own struct {
		Owner    string `json:"owner"`
		FixedEnd bool   `json:"fixed_end"`
	}
	if err := json.Unmarshal(payload, &own); err != nil {
		return status{}, err
	}
	out.Owner, out.FixedEnd = own.Owner, own.FixedEnd
	return out, nil
}

// report adds the state of rate limiting and hands a status to the reporter. Until the datapath was seen no state is
// claimed.
func (c *Controller) report(now time.Time, s wire.Status) {
	s.Timestamp = wire.Timestamp(now)
	out := status{Status: s}
	switch {
	case c.lease.On:
		out.State, out.Rate, out.Burst = wire.StateOn, c.lease.Limit.Rate, c.lease.Limit.Burst
		out.Until = wire.Timestamp(c.lease.End)
		out.Owner, out.FixedEnd = c.lease.Owner, c.lease.Fixed
	case c.known:
		out.State = wire.StateOff
	}
	topic := c.cfg.Root.StatusRateLimiting()
	if s.Command == wire.ScaleUpServers || s.Command == wire.ScaleDownServers {
		topic = c.cfg.Root.StatusScaling()
		out = status{Status: s} // the limit is another matter
	}
	payload, err := wire.Encode(out)
	if err != nil {
		c.warnings.Warn(now, "status left out", "err", err)
		return
	}
	c.reports.put(bus.Publication{Topic: topic, Payload: payload, Retain: true, Delivery: bus.Confirmed})
}
