package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/keys"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// startForeign runs another broker with what weir exports for it.
func (s *guardedSite) startForeign(broker string) {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), broker)
	s.mustWeir("broker export "+broker, "--trust", filepath.Join(s.keys, "trust.json"), "--secrets", s.keys, "--out", dir, "--dir", dir, "--listen", guardedAddr)
	for from, to := range map[string]string{"tls.crt": "broker.crt", "tls.key": "broker.key"} {
		text, err := os.ReadFile(filepath.Join(s.dir, "broker", from))
		must(s.t, err)
		must(s.t, os.WriteFile(filepath.Join(dir, to), text, 0o600))
	}
	switch broker {
	case "mosquitto":
		conf := filepath.Join(dir, "weir.conf")
		text, err := os.ReadFile(conf)
		must(s.t, err)
		must(s.t, os.WriteFile(conf, append(text, "\nuser root\n"...), 0o600)) // another couldn't read the test's folder
		s.Bank.Start(s.t, "mosquitto", "-c", conf).Await(s.t, "running", patience)
	case "nats":
		s.mqtt = "mqttv311"
		s.Bank.Start(s.t, "nats-server", "-c", filepath.Join(dir, "nats-server.conf")).Await(s.t, "Server is ready", patience)
	}
}

// signedAt is a command of the operator's whose clock is wrong.
func (s *guardedSite) signedAt(at time.Time, payload string) string {
	s.t.Helper()
	return s.signedFor(root+"/control/command", at, payload)
}

// signedFor is one that was meant for a topic.
func (s *guardedSite) signedFor(topic string, at time.Time, payload string) string {
	s.t.Helper()
	id, err := keys.Load(filepath.Join(s.dir, "operator"), "")
	must(s.t, err)
	stamped, err := wire.Stamp([]byte(payload), at)
	must(s.t, err)
	signed, err := wire.Sign(topic, stamped, id.Name, uint64(at.UnixMicro()), id.SignKey)
	must(s.t, err)
	return string(signed)
}

// forged is what somebody makes of a command who has no key, or no right clock, and what is said of it.
type forged struct{ payload, says string }

// forgeries are made of a command that was seen on the wire.
func (s *guardedSite) forgeries(captured string) map[string]forged {
	s.t.Helper()
	const enable = `{"command":"enable_rate_limiting"}`
	return map[string]forged{
		"unsigned":                {enable, "isn't signed"},
		"altered":                 {strings.Replace(captured, `"enable_rate_limiting"`, `"enable_rate_limiting" ,"ttl_seconds":86400`, 1), "signature doesn't fit"},
		"its form is another":     {strings.Replace(captured, `"kid":"operator-`, `"kid":"Operator-`, 1), "nobody is known by this key"},
		"duplicate":               {strings.Replace(captured, `{`, `{"command":"disable_rate_limiting",`, 1), "twice"},
		"beyond 2^53":             {strings.Replace(captured, `"seq":`, `"seq":9`, 1), "out of bounds"},
		"a member beyond 2^53":    {strings.Replace(captured, `{`, `{"x":9007199254740993,`, 1), "beyond what JSON keeps exactly"},
		"nested too deep":         {strings.Replace(captured, `{`, `{"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`,`, 1), "nested deeper than 16"},
		"64 KB of nesting":        {strings.Replace(captured, `{`, `{"x":`+strings.Repeat("[", 32_000)+strings.Repeat("]", 32_000)+`,`, 1), "refused: broken JSON"},
		"of another server":       {s.signedFor("<103795587>/other/control/command", time.Now(), enable), "signature doesn't fit"},
		"by a clock that is late": {s.signedAt(time.Now().Add(-time.Hour), enable), "its sender's clock is behind this one's"},
		"by a clock ahead":        {s.signedAt(time.Now().Add(time.Hour), enable), "its sender's clock is 59m"},
	}
}

// On brokers that aren't ours weir does the same, and what they let pass harms nobody.
func TestForeignBrokers(t *testing.T) {
	te.Tool(t, "mosquitto", "nats-server", "mosquitto_pub", "mosquitto_sub")
	for _, broker := range []string{"mosquitto", "nats"} {
		t.Run(broker, func(t *testing.T) {
			s := newGuardedSite(t)
			s.startForeign(broker)
			s.start("sensor", s.as("sensor")...)
			controller := s.start("controller", s.as("controller")...)
			monitor := s.start("monitor", s.as("monitor")...)
			topic := root + "/control/command"
			listener := s.Bank.StartCmd(t, s.mosquitto("mosquitto_sub", "operator", "-d", "-t", root+"/alerts", "-t", topic))
			listener.Await(t, "Subscribed", patience)
			r := s.reader()
			enforcing := func(about string, want bool) {
				t.Helper()
				if c, err := r.Control(); err != nil || c.Enforcing() != want {
					t.Errorf("%s: limiting is on: %v, %v", about, c.Enforcing(), err)
				}
			}
			refused := func(about, says string) {
				t.Helper()
				s.status(about, func(st wire.Status) bool { return st.Status == wire.Failure && strings.Contains(st.Detail, says) })
				enforcing(about, false)
			}
			publish := func(who, payload string, more ...string) {
				t.Helper()
				if out, err := s.mosquitto("mosquitto_pub", who, append([]string{"-q", "1", "-t", topic, "-m", payload}, more...)...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", who, err, out)
				}
			}

			s.mustWeir("ctl enable-rate-limiting", s.as("operator")...)
			enforcing("by the operator", true)
			s.mustWeir("ctl disable-rate-limiting", s.as("operator")...)
			monitor.Await(t, "metrics/network", patience)
			if strings.Contains(monitor.Output(), "metrics ignored") {
				t.Error("the sensor isn't believed")
			}
			captured := ""
			for line := range strings.Lines(listener.Output()) {
				if strings.HasPrefix(line, "{") && strings.Contains(line, wire.EnableRateLimiting) {
					captured = strings.TrimSpace(line)
				}
			}
			if captured == "" {
				t.Fatalf("no command was seen: %s", listener.Output())
			}

			publish("operator", captured)
			refused("a replay", "an old message again")
			listener.Await(t, "Command refused: it is an old message again", patience)
			for about, c := range s.forgeries(captured) {
				publish("operator", c.payload)
				refused(about, c.says)
			}
			for _, who := range []string{"sensor", "viewer", "controller"} { // the broker takes it, and gives it to nobody
				publish(who, `{"command":"enable_rate_limiting","id":"by-`+who+`"}`)
			}

			// The gap that is documented: it is retained, and so it is there again after each restart.
			controller.Signal(syscall.SIGKILL)
			_ = controller.Wait(patience)
			again := strings.TrimSpace(s.mustWeir("sign", s.as("operator", topic, `{"command": "enable_rate_limiting"}`)...))
			publish("operator", again, "-r")
			controller = s.start("controller", s.as("controller")...)
			controller.Await(t, "retained command ignored", patience)
			enforcing("retained", false)
			publish("operator", captured)
			controller.Await(t, "an old message again", patience)
			enforcing("a replay after a restart", false)
			publish("operator", "", "-r")

			// A last will is a publication, signed or not.
			dying := s.Bank.StartCmd(t, s.mosquitto("mosquitto_sub", "operator", "-d", "-t", root+"/alerts",
				"--will-topic", topic, "--will-payload", `{"command":"enable_rate_limiting","id":"will"}`))
			dying.Await(t, "Subscribed", patience)
			dying.Kill()
			refused("a will", "isn't signed")
			if out := listener.Output() + controller.Output(); strings.Contains(out, "by-") {
				t.Errorf("who may not command was heard: %s", out)
			}
		})
	}
}
