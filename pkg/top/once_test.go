package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// script is a source that tells things in time.
type script []struct {
	after time.Duration
	value any
}

func (s script) Run(ctx context.Context, tell func(Event)) error {
	for _, step := range s {
		select {
		case <-time.After(step.after):
			tell(Event{At: time.Now(), Value: step.value})
		case <-ctx.Done():
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

func once(t *testing.T, cfg Config, s Source, asJSON bool) (out string, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		begin := time.Now()
		err = Once(t.Context(), cfg, s, asJSON, &b)
		out, took = b.String(), time.Since(begin)
	})
	return out, took, err
}

func TestOnceJSON(t *testing.T) {
	alert := wire.Alert{Alert: "SYN \x1b packet\u202e\U000e0001", State: wire.AlertRaised, Metric: "syn_packet_count"}
	status := wire.Status{Command: wire.EnableRateLimiting, Status: wire.Success, State: wire.StateOn, Rate: 100}
	early := with(calm(), func(n *wire.Network) { n.Early = true })
	out, took, err := once(t, localConfig, script{
		{0, Link{Up: true}}, {0, status}, {0, alert}, {0, early}, {time.Second, wire.CPU{Usage: 12.5}}, {0, wire.RAM{Usage: 43.7}}, {0, attack()},
	}, true)
	if err != nil || took > 1500*time.Millisecond {
		t.Fatal(took, err)
	}
	if strings.Count(out, "\n") != 1 || strings.ContainsAny(out, "\x1b\u202e\U000e0001") {
		t.Errorf("%q", out)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"server": "<103795587>/bank_server", "from": "local", "state": "limiting", "cpu_usage": 12.5, "ram_usage": 43.7, "interface": "eth0",
		"mode": "enforce", "syn_packet_count": 120_000.0, "active_tcp_connections": 205.0, "broker": true,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	var d Document
	if err := json.Unmarshal([]byte(out), &d); err != nil || len(d.Alerts) != 1 || d.Alerts[0] != alert || *d.RateLimiting != status ||
		d.Verdicts["syn"].Dropped != 23_900 || d.TopSources[0].Source != "198.51.100.3" || d.Drops["source_rate"] != 23_800 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestOnceText(t *testing.T) {
	out, _, err := once(t, localConfig, script{{0, Link{Up: true}}, {time.Second, wire.CPU{Usage: 12.5}}, {0, wire.RAM{Usage: 43.7}}, {0, attack()}}, false)
	if err != nil || strings.Contains(out, "\x1b") {
		t.Fatal(err, out)
	}
	for _, want := range []string{"LIMITING", "mode enforce", "source_rate 23,800/s", "  198.51.100.3", "over its limit"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestOnceOfSeveralInterfaces(t *testing.T) {
	cfg := localConfig
	cfg.Interfaces = []string{"eth0", "eth1"}
	other := with(calm(), func(n *wire.Network) { n.Interface = "eth1" })
	out, _, err := once(t, cfg, script{{time.Second, wire.CPU{}}, {0, wire.RAM{}}, {0, attack()}, {0, other}}, true)
	if err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, `"eth1"`) {
		t.Error(err, out)
	}
}

func TestOnceFails(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  Config
		s    Source
		want string
		took time.Duration
	}{
		{"no broker", remoteConfig, script{}, "no connection to tcp://127.0.0.1:1883 in 5s: is the broker running?", 5 * time.Second},
		{"no sensor", remoteConfig, script{{time.Second, Link{Up: true}}}, "no metrics in 12s: is weir sensor running", 13 * time.Second},
		{"detached", localConfig, script{{0, Gone{"eth0", errors.New("the datapath was detached")}}}, "was detached", 0},
		{"stuck", localConfig, script{}, "was not read within 4s", 4 * time.Second},
		{"over", localConfig, failing{}, "no such address", 0},
	} {
		out, took, err := once(t, row.cfg, row.s, true)
		if err == nil || !strings.Contains(err.Error(), row.want) || out != "" || took < row.took || took > row.took+time.Second {
			t.Errorf("%s: %v after %v, %q", row.name, err, took, out)
		}
	}
}

// TestOnceWithoutCPU waits for what may still come, and then does without.
func TestOnceWithoutCPU(t *testing.T) {
	out, took, err := once(t, localConfig, script{{time.Second, calm()}}, true)
	if err != nil || strings.Contains(out, "cpu_usage") || took < 4*time.Second {
		t.Error(err, took, out)
	}
}

type failing struct{}

func (failing) Run(context.Context, func(Event)) error { return errors.New("no such address") }
