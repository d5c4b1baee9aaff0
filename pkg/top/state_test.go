package top

import (
	"errors"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

func with(n wire.Network, change func(*wire.Network)) wire.Network {
	change(&n)
	return n
}

func TestStates(t *testing.T) {
	raised := wire.Alert{Alert: "SYN packet count exceeded threshold", State: wire.AlertRaised, Metric: "syn_packet_count"}
	cleared := raised
	cleared.State = wire.AlertCleared
	for _, row := range []struct {
		name  string
		seen  []any
		state State
		says  []string
	}{
		{"nothing yet", nil, Waiting, []string{"WAITING"}},
		{"calm", []any{calm()}, Calm, []string{"CALM 12 SYN/s offered", "mode observe"}},
		{"over the threshold", []any{with(attack(), func(n *wire.Network) { n.Mode = wire.ModeObserve })}, UnderAttack,
			[]string{"UNDER ATTACK 24,012 SYN/s offered, 120,000 in 5 s", "mode observe"}},
		{"at the threshold", []any{with(calm(), func(n *wire.Network) { n.SYNPacketCount = 700 })}, Calm, nil},
		{"the monitor says so", []any{calm(), raised}, UnderAttack, []string{"UNDER ATTACK", "1 alert"}},
		{"the monitor says it's over", []any{calm(), raised, cleared}, Calm, nil},
		{"a CPU alert", []any{calm(), wire.Alert{Alert: "CPU usage exceeded threshold", State: wire.AlertRaised, Metric: "cpu_usage"}}, Calm,
			[]string{"1 alert", "raised: CPU usage"}},
		{"limiting", []any{attack()}, Limiting, []string{"LIMITING 24,012 SYN/s offered, 23,900 packets/s dropped", "lease ends in 9m41s"}},
		{"nothing to limit", []any{with(attack(), func(n *wire.Network) { n.Drops = nil })}, Limiting, []string{"nothing had to be dropped"}},
		{"challenging", []any{with(attack(), func(n *wire.Network) {
			n.Challenging, n.Challenged = true, map[string]uint64{"unverified": 20_000}
		})}, Challenging, []string{"CHALLENGING", "20,000/s answered by SYN cookies", "challenged for unverified 20,000/s"}},
		{"beyond", []any{with(attack(), func(n *wire.Network) { n.BeyondHost, n.Challenging, n.NICDiscards = true, true, 1234 })}, BeyondHost,
			[]string{"BEYOND THIS HOST", "1,234 packets/s", "upstream"}},
		{"detached", []any{attack(), Gone{"eth0", errors.New("the datapath was detached\nfrom eth0")}}, NotGuarded,
			[]string{"NOT GUARDED the datapath was detached; from eth0", "OLD NUMBERS"}},
		{"attached again", []any{attack(), Gone{"eth0", errors.New("detached")}, calm()}, Calm, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, localConfig)
			r.see(1, row.seen...)
			if s, _ := r.picture.state(r.seen(), at(1.5)); s != row.state {
				t.Errorf("%s, want %s", s, row.state)
			}
			r.expect(row.name, row.says...)
		})
	}
}

// TestOldNumbersAreCalledOld goes through an outage of the sensor, then of the broker.
func TestOldNumbersAreCalledOld(t *testing.T) {
	r := newRig(t, remoteConfig)
	step := func(seconds float64, want State, says ...string) {
		t.Helper()
		r.tick(seconds)
		if s, why := r.picture.state(r.seen(), at(seconds)); s != want {
			t.Errorf("at %v: %s (%s), want %s", seconds, s, why, want)
		}
		r.expect(string(want), says...)
		if old := want != Calm && want != Limiting; old && !r.seen().at.IsZero() {
			r.expect("old", "OLD NUMBERS, of")
		} else {
			r.expectNot("fresh", "OLD NUMBERS")
		}
	}
	step(3, BrokerLost, "BROKER LOST connecting to tcp://127.0.0.1:1883 for 3s")
	r.see(4, Link{Up: true})
	step(5, Waiting)
	step(17, Silent, "SENSOR SILENT no metrics for 13s")
	r.see(20, calm(), wire.CPU{Usage: 12})
	step(20, Calm, "cpu 12 %")
	step(31.9, Calm, "cpu 12 %")
	step(32.5, Silent, "SENSOR SILENT no metrics for 12s", "OLD NUMBERS, of 12s ago", "cpu -")
	r.see(33, wire.Presence{State: wire.Online}, attack())
	step(33, Limiting)
	r.see(34, wire.Presence{State: wire.Offline})
	step(34.5, Silent, "it said that it is offline")
	r.see(35, wire.Presence{State: wire.Online})
	step(35.5, Limiting)
	r.see(36, Link{Up: false})
	step(43, BrokerLost, "BROKER LOST no connection to tcp://127.0.0.1:1883 for 7s", "OLD NUMBERS, of 10s ago")
	r.see(50, Link{Up: true})
	step(51, Waiting)
	r.see(52, calm())
	step(52, Calm)
}

func TestLocalReadingThatStalls(t *testing.T) {
	r := newRig(t, localConfig)
	r.see(1, calm())
	r.tick(5.5)
	r.expect("stalled", "SENSOR SILENT the datapath was not read for 4s", "OLD NUMBERS")
}

// TestNoBrokerIsNoAlarmHere: the numbers are this host's own.
func TestNoBrokerIsNoAlarmHere(t *testing.T) {
	r := newRig(t, localConfig)
	r.see(1, calm())
	r.expect("without", "CALM", "none to know of: no broker at tcp://127.0.0.1:1883 since 15:28:47")
	r.see(2, Link{Up: true}, calm())
	r.expect("with", "none since 15:28:49")
}

func TestAlertOfADeadMonitor(t *testing.T) {
	r := newRig(t, localConfig)
	r.see(1, wire.Alert{Alert: "SYN packet count exceeded threshold", State: wire.AlertRaised, Metric: "syn_packet_count"})
	r.see(2+alertHolds.Seconds(), calm())
	r.expect("long ago", "CALM")
	r.expectNot("long ago", "1 alert")
}

func TestRead(t *testing.T) {
	retained := func(m bus.Message) bus.Message { m.Retained = true; return m }
	for _, row := range []struct {
		name string
		m    bus.Message
		want any // nil for not shown, Unreadable{} for any such
	}{
		{"cpu", message("metrics/cpu", `{"cpu_usage": 91.44, "timestamp": 1}`), wire.CPU{Usage: 91.44, Timestamp: 1}},
		{"ram", message("metrics/ram", `{"ram_usage": 43.7}`), wire.RAM{Usage: 43.7}},
		{"old cpu", retained(message("metrics/cpu", `{"cpu_usage": 91.44}`)), Unreadable{}},
		{"old network", retained(message("metrics/network", `{"active_tcp_connections": 1, "syn_packet_count": 2}`)), Unreadable{}},
		{"old alert", retained(message("alerts", `{"alert": "x"}`)), Unreadable{}},
		{"impossible", message("metrics/cpu", `{"cpu_usage": 101}`), Unreadable{}},
		{"no JSON", message("metrics/network", "\x1b[2J"), Unreadable{}},
		{"too large", bus.Message{Topic: wire.DefaultRoot.Alerts(), Oversize: 1 << 20}, Unreadable{}},
		{"forged", bus.Message{Topic: wire.DefaultRoot.MetricsCPU(), Payload: []byte(`{"cpu_usage": 5}`), Refused: errors.New("forged")}, Unreadable{}},
		{"retained status", retained(message("status/rate_limiting", `{"command": "x", "status": "success"}`)),
			wire.Status{Command: "x", Status: "success"}},
		{"presence", retained(message("status/sensor", `{"state": "offline"}`)), wire.Presence{State: "offline"}},
		{"another metric", message("metrics/disk", `{}`), nil},
		{"a command", message("control/command", `{"command": "x"}`), nil},
	} {
		e, ok := Read(wire.DefaultRoot, start, row.m)
		if ok != (row.want != nil) {
			t.Errorf("%s: %v", row.name, ok)
		}
		if _, bad := row.want.(Unreadable); bad {
			if _, is := e.Value.(Unreadable); !is {
				t.Errorf("%s: %+v", row.name, e.Value)
			}
		} else if ok && e.Value != row.want {
			t.Errorf("%s: %+v", row.name, e.Value)
		}
	}
}

func TestHistoryHasGaps(t *testing.T) {
	h := history{step: time.Second}
	for _, s := range []float64{1, 2.1, 2.9, 4.3, 7} {
		h.add(at(s), s)
	}
	if got := (Look{ASCII: true}).chart(h.until(at(7.2), 20), 9, 1, 8)[0]; got != "  .-=+  @" {
		t.Errorf("%q", got)
	}
	values := h.until(at(7.2), 20)
	if len(values) != 7 || values[4] == values[4] || values[5] == values[5] || values[6] != 7 {
		t.Errorf("%v", values)
	}
	if later := h.until(at(10.2), 20); len(later) != 9 || later[8] == later[8] {
		t.Errorf("%v", later)
	}
	if n := len(h.until(at(1e9), 20)); n != 20 {
		t.Errorf("%d", n)
	}
	for s := range 3 * kept {
		h.add(at(float64(10+s)), 1)
	}
	if len(h.values) > kept || len(h.until(at(5000), kept)) > kept {
		t.Errorf("%d kept", len(h.values))
	}
}

func TestChart(t *testing.T) {
	look := Look{ASCII: true}
	got := look.chart([]float64{0, 1, 4, 8}, 5, 2, 8)
	if got[0] != "   _@" || got[1] != " _-@@" {
		t.Errorf("%q", got)
	}
}
