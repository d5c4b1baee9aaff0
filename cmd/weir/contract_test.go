package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
	"github.com/weir-sensor/weir/pkg/wire/contract"
)

// asDocumented holds all messages against docs/asyncapi.yaml, and demands one on each channel.
func asDocumented(t *testing.T, messages []te.Message) {
	t.Helper()
	d, err := contract.Load()
	must(t, err)
	seen := map[string]int{}
	for _, m := range messages {
		if strings.HasPrefix(m.Topic, root+"/control/command") && strings.Contains(string(m.Payload), "nonsense") {
			continue // the test's own
		}
		if err := d.Check(wire.DefaultRoot, m.Topic, m.Payload); err != nil {
			t.Error(err)
		}
		seen[d.Channel(wire.DefaultRoot, m.Topic)]++
	}
	for _, name := range d.Channels() {
		if seen[name] == 0 {
			t.Errorf("nothing came on %s, so it wasn't tried", name)
		}
	}
	t.Logf("%v", seen)
}

// TestWireIsAsDocumented lets everything be said that weir says: a flood, every command, right and wrong.
func TestWireIsAsDocumented(t *testing.T) {
	s := newSite(t)
	s.serve()
	s.start("up", "--monitor-calm", "2s", "--monitor-cpu-threshold", "0.01")
	o := te.Observe(t, s.Bank, brokerAddr)
	te.Publish(t, s.Bank, brokerAddr, "public/announcement", []byte("Heart rate is 67 BPM"))
	start := time.Now()
	f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 3000})
	o.Await(t, patience, "limiting", since(start, is("status/rate_limiting", `"enable_rate_limiting"`, `"on"`)))
	o.Await(t, patience, "drops", since(start, is("metrics/network", `"drops"`, `"top_sources"`)))
	f.Stop()
	f = te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 3000, Sources: te.RandomSources})
	o.Await(t, patience, "challenge", since(start, is("metrics/network", `"challenged"`)))
	f.Stop()
	for i, command := range append(wire.Commands, "nonsense") {
		id := fmt.Sprintf("wire-%d", i)
		source := ""
		if wire.IsListCommand(command) {
			source = `, "source": "192.0.2.0/24"`
		}
		s.order(o, fmt.Sprintf(`{"command": %q, "id": %q, "ttl_seconds": 60%s}`, command, id, source), fmt.Sprintf(`"id":%q`, id))
	}
	te.Publish(t, s.Bank, brokerAddr, root+"/control/command", []byte(`{"command": "test_alert", "id": "wire-t"}`))
	o.Await(t, patience, "the answer to a test", since(start, is("status/notification", `"wire-t"`, `"failure"`)))
	s.order(o, `{"command": "enable_rate_limiting", "rate": "nonsense", "id": "wire-x"}`, `"id":"wire-x"`, `"failure"`)
	o.Await(t, 30*time.Second, "cleared alert", since(start, is("alerts", `"SYN packet count`, `"cleared"`)))
	o.Await(t, 30*time.Second, "CPU alert", since(start, is("alerts", `"CPU usage`, `"raised"`)))
	o.Await(t, 30*time.Second, "a monitor's scaling", since(start, is("status/scaling", `"monitor"`)))
	asDocumented(t, o.Messages())
}

// TestSignedWireIsAsDocumented: signatures, refusals and warnings are members, too.
func TestSignedWireIsAsDocumented(t *testing.T) {
	s := newGuardedSite(t)
	s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", guardedAddr)
	out := s.Bank.StartCmd(t, s.mosquitto("mosquitto_sub", "operator", "-d", "-q", "1", "-F", te.MessageFormat,
		"-t", root+"/metrics/#", "-t", root+"/alerts", "-t", root+"/control/command", "-t", root+"/status/#", "-t", "public/#"))
	out.Await(t, "Subscribed", patience)
	s.start("sensor", s.as("sensor")...)
	s.start("controller", s.as("controller")...)
	s.start("monitor", s.as("monitor")...)
	for _, command := range []string{"enable-rate-limiting", "disable-rate-limiting"} {
		s.mustWeir("ctl "+command, s.as("operator")...)
	}
	if text, status := s.weir("ctl scale-up-servers", s.as("operator")...); status != 1 {
		t.Errorf("weir ctl scale-up-servers: exit status %d: %s", status, text)
	}
	if text, status := s.weir("ctl test-alert", s.as("operator")...); status != 1 || !strings.Contains(text, "notify.syslog") {
		t.Errorf("weir ctl test-alert: exit status %d: %s", status, text)
	}
	for _, m := range [][2]string{{root + "/control/command", `{"command": "disable_rate_limiting", "id": "unsigned"}`}, {"public/x", "hello"}} {
		if text, err := s.publish("operator", m[0], m[1]); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	o := te.ObserverOf(out)
	o.Await(t, patience, "an alert on the unsigned command", is("alerts", `"refused_commands"`))
	o.Await(t, patience, "its refusal", is("status/rate_limiting", `"unsigned"`, `"failure"`))
	o.Await(t, patience, "metrics", is("metrics/network", `"sig"`))
	asDocumented(t, o.Messages())
}
