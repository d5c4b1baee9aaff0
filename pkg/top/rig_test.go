package top

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

var start = time.Date(2024, 10, 23, 15, 28, 47, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

var remoteConfig = Config{
	Root: wire.DefaultRoot, Broker: "tcp://127.0.0.1:1883", Remote: true, Interval: 5 * time.Second, SYNThreshold: 700,
	Look: Look{Plain: true},
}

var localConfig = Config{
	Root: wire.DefaultRoot, Broker: "tcp://127.0.0.1:1883", Interfaces: []string{"eth0"}, Interval: time.Second, SYNThreshold: 700,
	Look: Look{Plain: true},
}

// rig drives a model without a terminal.
type rig struct {
	t testing.TB
	*model
	sent  []wire.Command
	reply func(wire.Command) (wire.Status, error)
}

func newRig(t testing.TB, cfg Config) *rig {
	r := &rig{t: t}
	r.reply = func(c wire.Command) (wire.Status, error) {
		return wire.Status{Command: c.Command, Status: wire.Success, Detail: "done", Origin: c.Origin}, nil
	}
	r.model = newModel(t.Context(), cfg, r, start)
	return r
}

// Send makes the rig its own commander.
func (r *rig) Send(_ context.Context, c wire.Command) (wire.Status, error) {
	r.sent = append(r.sent, c)
	return r.reply(c)
}

// update hands over a message and, if that asked for it, what a command came to.
func (r *rig) update(msg tea.Msg) tea.Cmd {
	_, cmd := r.Update(msg)
	return cmd
}

func (r *rig) tick(seconds float64) { r.update(tick(at(seconds))) }

func (r *rig) see(seconds float64, values ...any) {
	for _, v := range values {
		r.update(Event{At: at(seconds), Value: v})
	}
}

var keys = map[string]tea.KeyPressMsg{
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "esc": {Code: tea.KeyEscape}, "tab": {Code: tea.KeyTab},
	"ctrl+c": {Code: 'c', Mod: tea.ModCtrl},
}

// press presses keys and gives the last one's command.
func (r *rig) press(names ...string) (cmd tea.Cmd) {
	r.t.Helper()
	for _, name := range names {
		k, ok := keys[name]
		if !ok {
			k = tea.KeyPressMsg{Code: rune(name[0]), Text: name}
		}
		if k.String() != name {
			r.t.Fatalf("the key %q is called %q", name, k.String())
		}
		cmd = r.update(k)
	}
	return cmd
}

func (r *rig) size(w, h int) { r.update(tea.WindowSizeMsg{Width: w, Height: h}) }

func (r *rig) screen() string { return r.View().Content }

func (r *rig) expect(what string, parts ...string) {
	r.t.Helper()
	flat := strings.Join(strings.Fields(r.screen()), " ")
	for _, part := range parts {
		if !strings.Contains(flat, part) {
			r.t.Errorf("%s: no %q in\n%s", what, part, r.screen())
		}
	}
}

func (r *rig) expectNot(what string, parts ...string) {
	r.t.Helper()
	for _, part := range parts {
		if strings.Contains(r.screen(), part) {
			r.t.Errorf("%s: %q in\n%s", what, part, r.screen())
		}
	}
}

// fits demands that a screen is as large as the terminal, and no larger.
func (r *rig) fits() {
	r.t.Helper()
	lines := strings.Split(r.screen(), "\n")
	if len(lines) > r.height || r.width >= leastWidth && r.height >= leastHeight && len(lines) != r.height {
		r.t.Errorf("%d lines on %dx%d:\n%s", len(lines), r.width, r.height, r.screen())
	}
	for _, line := range lines {
		if w := lipgloss.Width(line); w > r.width {
			r.t.Errorf("%d columns on %dx%d: %s", w, r.width, r.height, line)
		}
	}
}

// calm is a sample without an attack, attack one with.
func calm() wire.Network {
	n := wire.Network{
		ActiveTCPConnections: 205, SYNPacketCount: 60, Interface: "eth0", Tier: "xdp-native", Mode: wire.ModeObserve, IntervalSeconds: 1,
		Rates:    map[string]wire.Rate{},
		Verdicts: map[string]wire.Verdicts{"syn": {Passed: 12}, "tcp": {Passed: 3400}},
		TopSources: []wire.Source{
			{Source: "192.0.2.7", SYNsPerSecond: 8}, {Source: "2001:db8:1::/64", SYNsPerSecond: 4},
		},
	}
	for _, class := range classes {
		n.Rates[class] = wire.Rate{}
	}
	n.Rates["syn"] = wire.Rate{PacketsPerSecond: 12, BytesPerSecond: 888}
	n.Rates["tcp"] = wire.Rate{PacketsPerSecond: 3400, BytesPerSecond: 4e6}
	return n
}

func attack() wire.Network {
	n := calm()
	n.Mode, n.LeaseSeconds, n.SYNPacketCount = wire.ModeEnforce, 581.4, 120_000
	n.Rates["syn"] = wire.Rate{PacketsPerSecond: 24_012, BytesPerSecond: 1.7e6}
	n.Verdicts["syn"] = wire.Verdicts{Passed: 112, Dropped: 23_900}
	n.Drops = map[string]uint64{"source_rate": 23_800, "prefix_rate": 100}
	n.TopSources = append([]wire.Source{{Source: "198.51.100.3", SYNsPerSecond: 24_000, Limited: true}}, n.TopSources...)
	return n
}

// scene is an attack that has begun ten seconds ago, and what was done about it.
func scene(t testing.TB, cfg Config) *rig {
	r := newRig(t, cfg)
	r.see(0, Link{Up: true})
	random := rand.New(rand.NewPCG(1, 2))
	for s := 1.0; s <= 50; s++ {
		n := calm()
		n.Rates["syn"] = wire.Rate{PacketsPerSecond: float64(8 + random.IntN(9))}
		if s > 40 {
			n = attack()
		}
		r.see(s, wire.CPU{Usage: 10 + 40*random.Float64()}, wire.RAM{Usage: 43.7}, n)
		if s == 41 {
			r.see(s+0.1, wire.Alert{Alert: "SYN packet count exceeded threshold", State: wire.AlertRaised, Metric: "syn_packet_count",
				Value: 24_012, Threshold: 700})
			r.see(s+0.2, wire.Status{Command: wire.EnableRateLimiting, Status: wire.Success, Origin: "monitor",
				Detail: "each source is held to 100 SYNs per second", State: wire.StateOn, Rate: 100, Burst: 200})
		}
	}
	r.tick(50.5)
	return r
}

func message(topic, payload string) bus.Message {
	return bus.Message{Topic: wire.DefaultRoot.String() + "/" + topic, Payload: []byte(payload)}
}

func sized(w, h int) string { return fmt.Sprintf("%dx%d", w, h) }
