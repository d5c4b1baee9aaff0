package monitor

import (
	"fmt"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/wire"
)

// loads are regular samples of all, for as long.
func (s *stage) loads(long time.Duration, cpu float64) {
	for range long / (5 * time.Second) {
		time.Sleep(5 * time.Second)
		s.deliver(s.cfg.Root.MetricsCPU(), fmt.Sprintf(`{"cpu_usage": %g, "timestamp": 12}`, cpu))
		s.deliver(s.cfg.Root.MetricsRAM(), `{"ram_usage": 20, "timestamp": 12}`)
		s.network(100, 100)
	}
}

// added is what the controller says of servers.
func (s *stage) added(text string, retained bool) {
	s.bus.Deliver(bus.Message{Topic: s.cfg.Root.StatusScaling(), Retained: retained, Payload: []byte(
		`{"timestamp": 1, "command": "scale_up_servers", "status": "success", "detail": "", "servers": {"running": 3, "min": 1, "max": 4, "added": {` + text + `}}}`)})
}

func TestMonitorTakesItsServersAway(t *testing.T) {
	run(t, &bustest.Fake{}, func(s *stage) {
		s.loads(time.Minute, 50)
		s.loads(15*time.Second, 95)
		s.expectCommand("load", wire.ScaleUpServers)
		s.added(`"monitor": 2, "ctl": 1`, false)
		s.loads(9*time.Minute, 50)
		s.expectCommand("nine minutes of calm", "")
		s.loads(2*time.Minute, 50)
		s.expectCommand("ten minutes of calm", wire.ScaleDownServers)
		s.added(`"monitor": 1, "ctl": 1`, false)
		s.loads(4*time.Minute, 50)
		s.expectCommand("soon after", "")
		s.loads(2*time.Minute, 50)
		s.expectCommand("the second", wire.ScaleDownServers)
		s.added(`"ctl": 1`, false)
		s.loads(time.Hour, 50)
		s.expectCommand("an operator's", "")
	})
}

func TestMonitorLeavesServersThatAreNeeded(t *testing.T) {
	run(t, &bustest.Fake{}, func(s *stage) {
		s.added(`"monitor": 1`, true) // by the monitor before
		s.loads(9*time.Minute, 50)
		s.loads(5*time.Second, 70) // no alert, and no calm
		s.loads(9*time.Minute, 50)
		s.expectCommand("no ten minutes in a row", "")
		time.Sleep(10 * time.Minute)
		s.loads(9*time.Minute, 50)
		s.expectCommand("silence is no calm", "")
		s.network(5000, 100)
		if c := s.commands(); len(c) != 1 || c[0].Command != wire.EnableRateLimiting {
			t.Errorf("flood: %+v", c)
		}
		for range 240 {
			s.deliver(s.cfg.Root.MetricsCPU(), `{"cpu_usage": 50, "timestamp": 12}`)
			s.deliver(s.cfg.Root.MetricsRAM(), `{"ram_usage": 20, "timestamp": 12}`)
			s.networks(1, 5000)
		}
		for _, c := range s.commands() {
			if c.Command != wire.EnableRateLimiting {
				t.Errorf("during a flood: %+v", c)
			}
		}
	})
}
