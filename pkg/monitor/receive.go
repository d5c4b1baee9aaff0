package monitor

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

const publicFilter = wire.PublicFilter

// show prints any message; that is all that becomes of public ones.
func (m *Monitor) show(msg bus.Message) {
	m.out.Printf("Received from topic: %s: %s", wire.Describe([]byte(msg.Topic)), msg.Describe())
}

// onMetric judges a sample by when it arrives: the clock of its sender decides nothing.
func (m *Monitor) onMetric(msg bus.Message) {
	now := time.Now()
	m.show(msg) // takes microseconds: the printer has a queue
	if err := m.sample(now, msg); err != nil {
		m.warnings.Warn(now, "metrics ignored", "topic", msg.Topic, "err", err)
	}
}

func (m *Monitor) sample(now time.Time, msg bus.Message) error {
	if msg.Oversize > 0 {
		return fmt.Errorf("%d bytes, at most %d are read", msg.Oversize, wire.MaxPayload)
	}
	if msg.Refused != nil {
		return msg.Refused
	}
	if msg.Retained {
		return fmt.Errorf("retained, so of unknown age: publish metrics without retain")
	}
	switch root := m.cfg.Root; msg.Topic {
	case root.MetricsCPU():
		cpu, err := wire.DecodeCPU(msg.Payload)
		if err != nil {
			return err
		}
		m.observe(now, metricCPU, cpu.Usage, false)
		m.act(m.mitigation.Load(now, metricCPU, cpu.Usage < m.detectors[metricCPU].ClearLevel()))
	case root.MetricsRAM():
		ram, err := wire.DecodeRAM(msg.Payload)
		if err != nil {
			return err
		}
		m.observe(now, metricRAM, ram.Usage, false)
		m.act(m.mitigation.Load(now, metricRAM, ram.Usage < m.detectors[metricRAM].ClearLevel()))
	case root.MetricsNetwork():
		network, err := wire.DecodeNetwork(msg.Payload)
		if err != nil {
			return err
		}
		m.silence.heard(now, m.log)
		syns := float64(network.SYNPacketCount)
		m.observe(now, metricSYN, syns, network.Early)
		m.act(m.mitigation.SYNs(now, syns < m.detectors[metricSYN].ClearLevel(), network.Early))
		m.observe(now, metricConnections, float64(network.ActiveTCPConnections), network.Early)
	}
	return nil
}

func (m *Monitor) observe(now time.Time, of metric, value float64, early bool) {
	m.values[of] = value
	e, ok := m.detectors[of].Observe(now, value, early)
	if !ok {
		return
	}
	m.act(m.mitigation.Alert(now, of, e)) // the command first: it's what holds the flood back
	m.alert(of.alert(e))
}

// onStatus learns from the controller. What other programs say under status is shown only.
func (m *Monitor) onStatus(msg bus.Message) {
	now := time.Now()
	m.show(msg)
	scaling := msg.Topic == m.cfg.Root.StatusScaling()
	if msg.Topic != m.cfg.Root.StatusRateLimiting() && !scaling || msg.Oversize > 0 {
		return
	}
	s, err := wire.DecodeStatus(msg.Payload)
	if err == nil {
		err = msg.Refused
	}
	if err != nil {
		m.warnings.Warn(now, "status ignored", "topic", msg.Topic, "err", err)
		return
	}
	if scaling {
		m.mitigation.Scaling(s)
		return
	}
	m.act(m.mitigation.Status(now, s))
}

// onCommand shows the commands of others, and alerts on those that nobody may believe.
func (m *Monitor) onCommand(msg bus.Message) {
	if msg.Refused != nil && !msg.Retained {
		if a, ok := m.forged.refused(time.Now(), msg.Refused); ok {
			m.alert(a)
		}
	}
	if msg.Oversize == 0 {
		if c, err := wire.DecodeCommand(msg.Payload); err == nil && strings.HasPrefix(c.ID, m.mitigation.idPrefix) {
			return // our own, which was printed as published
		} else if err == nil && c.Command == wire.TestAlert && msg.Refused == nil && !msg.Retained {
			c.SignedBy = msg.From
			go m.testNotifier(c)
		}
	}
	m.show(msg)
}
