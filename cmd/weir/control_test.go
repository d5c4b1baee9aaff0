package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// guardedSite is a site whose components know one another.
type guardedSite struct {
	*site
	keys string
	url  string
	mqtt string // version of the protocol that mosquitto's clients speak
}

const guardedAddr = "127.0.0.1:8883"

// newGuardedSite has a broker, a sensor, a controller and a monitor, each with an identity that weir keys has issued.
func newGuardedSite(t testing.TB) *guardedSite {
	t.Helper()
	s := &guardedSite{newSite(t), filepath.Join(t.TempDir(), "keys"), "tls://" + guardedAddr, "mqttv5"}
	s.keysDo("init", "--broker", s.url)
	s.issue("broker", "broker", "-", "--host", "127.0.0.1", "--host", s.Bank.IPv4.String())
	s.issue("sensor", "sensor", "-", "bank_server")
	s.issue("controller", "controller", "-", "bank_server", "--days", "10") // it will say so
	for _, role := range []string{"monitor", "operator", "viewer"} {
		s.issue(role, role, "-")
	}
	s.spread()
	return s
}

func (s *guardedSite) keysDo(verb string, args ...string) string {
	s.t.Helper()
	out, err := exec.Command(binary, append([]string{"keys", verb, "--dir", s.keys}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("weir keys %s %q: %v: %s", verb, args, err, out)
	}
	return string(out)
}

// issue makes an identity in a directory of the site's.
func (s *guardedSite) issue(name string, args ...string) {
	s.t.Helper()
	s.keysDo("issue", append(args, "--out", filepath.Join(s.dir, name))...)
}

// spread copies the trust file to everybody.
func (s *guardedSite) spread() {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.keys, "trust.json"))
	must(s.t, err)
	names, err := filepath.Glob(filepath.Join(s.dir, "*", "trust.json"))
	must(s.t, err)
	for _, path := range names {
		must(s.t, os.WriteFile(path, text, 0o644))
	}
}

// as is how somebody runs weir.
func (s *guardedSite) as(name string, more ...string) []string {
	return append([]string{"--config", filepath.Join(s.dir, name, "weir.yaml"), "--state", filepath.Join(s.dir, "state")}, more...)
}

func (s *guardedSite) name(of string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, of, "name"))
	must(s.t, err)
	return strings.TrimSpace(string(text))
}

// mosquitto runs one of its clients as somebody, with his certificate and his password.
func (s *guardedSite) mosquitto(program, who string, args ...string) *exec.Cmd {
	s.t.Helper()
	dir := filepath.Join(s.dir, who)
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	must(s.t, err)
	return s.Bank.Command(s.t.Context(), "stdbuf", append([]string{
		"-oL", program, "-h", "127.0.0.1", "-p", "8883", "--cafile", dir + "/ca.crt", "--cert", dir + "/tls.crt", "--key", dir + "/tls.key",
		"-u", s.name(who), "-P", strings.TrimSpace(string(password)), "-V", s.mqtt,
	}, args...)...)
}

func (s *guardedSite) publish(who, topic, payload string) (string, error) {
	s.t.Helper()
	out, err := s.mosquitto("mosquitto_pub", who, "-q", "1", "-t", topic, "-m", payload).CombinedOutput()
	return string(out), err
}

// status waits for the controller's last one to be as wanted.
func (s *guardedSite) status(about string, want func(wire.Status) bool) wire.Status {
	s.t.Helper()
	end := time.Now().Add(patience)
	var last string
	for time.Now().Before(end) {
		out, err := s.mosquitto("mosquitto_sub", "operator", "-C", "1", "-W", "3", "-t", root+"/status/rate_limiting").CombinedOutput()
		last = string(out)
		var st wire.Status
		if err == nil && json.Unmarshal(out, &st) == nil && want(st) {
			return st
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("%s: the last status is %s", about, last)
	return wire.Status{}
}

func TestWhoMayCommand(t *testing.T) {
	te.Tool(t, "mosquitto_pub", "mosquitto_sub")
	s := newGuardedSite(t)
	broker := s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", guardedAddr)
	s.start("sensor", s.as("sensor")...)
	controller := s.start("controller", s.as("controller")...)
	monitor := s.start("monitor", s.as("monitor")...)
	alerts := s.Bank.StartCmd(t, s.mosquitto("mosquitto_sub", "operator", "-d", "-t", root+"/alerts", "-t", root+"/control/command"))
	alerts.Await(t, "Subscribed", patience)
	r := s.reader()
	enforcing := func(want bool) {
		t.Helper()
		if c, err := r.Control(); err != nil || c.Enforcing() != want {
			t.Errorf("limiting is on: %v, %v", c.Enforcing(), err)
		}
	}
	refused := func(about, says string) {
		t.Helper()
		s.status(about, func(st wire.Status) bool { return st.Status == wire.Failure && strings.Contains(st.Detail, says) })
		enforcing(false)
	}

	// As it should be.
	out := s.mustWeir("ctl enable-rate-limiting", s.as("operator")...)
	if !strings.Contains(out, "enable_rate_limiting: success") {
		t.Error(out)
	}
	enforcing(true)
	if st := s.status("signed", func(st wire.Status) bool { return st.State == wire.StateOn }); st.SignedBy != s.name("operator") || !strings.Contains(st.Warning, "ends in 9 days") {
		t.Errorf("%+v", st)
	}
	if out := s.mustWeir("status", "--identity", filepath.Join(s.dir, "controller")); !strings.Contains(out, "ends in 9 days") {
		t.Error(out)
	}
	s.mustWeir("ctl disable-rate-limiting", s.as("operator")...)
	enforcing(false)
	monitor.Await(t, "metrics/network", patience)
	if strings.Contains(monitor.Output(), "metrics ignored") {
		t.Error("the sensor isn't believed")
	}

	signed := s.mustWeir("sign", s.as("operator", root+"/control/command", `{"command": "enable_rate_limiting", "reason": "by hand"}`)...)
	if out := s.mustWeir("verify", s.as("viewer", root+"/control/command", signed)...); !strings.HasPrefix(out, "signed by "+s.name("operator")) {
		t.Error(out)
	}
	if out, status := s.weir("verify", s.as("viewer", root+"/alerts", signed)...); status == 0 || !strings.Contains(out, "doesn't fit") {
		t.Error(out)
	}
	if out, status := s.weir("sign", s.as("sensor", root+"/control/command", "{}")...); status == 0 || !strings.Contains(out, "may not publish") {
		t.Error(out)
	}
	if out, err := s.publish("operator", root+"/control/command", strings.TrimSpace(signed)); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	s.status("signed by hand", func(st wire.Status) bool { return st.State == wire.StateOn })
	s.mustWeir("ctl disable-rate-limiting", s.as("operator")...)
	enforcing(false)

	// As it should not. A command that was seen on the wire, again; the same to another topic; without a signature; by others.
	captured := ""
	for _, line := range strings.Split(alerts.Output(), "\n") {
		if strings.HasPrefix(line, "{") && strings.Contains(line, wire.EnableRateLimiting) {
			captured = line
		}
	}
	if captured == "" {
		t.Fatalf("no command was seen: %s", alerts.Output())
	}
	topic := root + "/control/command"
	if out, err := s.publish("operator", topic, captured); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	refused("a replay", "an old message again")
	alerts.Await(t, "Command refused: it is an old message again", patience)
	for about, c := range s.forgeries(captured) {
		if out, err := s.publish("operator", topic, c.payload); err != nil {
			t.Errorf("%s: %v: %s", about, err, out)
		}
		refused(about, c.says)
	}
	for _, who := range []string{"sensor", "controller", "viewer"} { // the broker refuses
		if out, err := s.publish(who, topic, `{"command":"enable_rate_limiting"}`); err == nil && !strings.Contains(out, "denied") && !strings.Contains(out, "not authorized") {
			t.Errorf("a %s may command: %s", who, out)
		}
	}
	if out, status := s.weir("ctl enable-rate-limiting", s.as("viewer", "--timeout", "2s")...); status != 1 || !strings.Contains(out, "may not publish") {
		t.Errorf("a viewer commands: %s", out)
	}
	enforcing(false)

	// A restart forgets nothing.
	controller.Signal(syscall.SIGKILL)
	_ = controller.Wait(patience)
	controller = s.start("controller", s.as("controller")...)
	if out, err := s.publish("operator", topic, captured); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	controller.Await(t, "an old message again", patience)
	enforcing(false)

	// All of it is noted, and nobody changes it unseen.
	out = s.mustWeir("audit export", "--audit-dir", s.dir, "--format", "csv")
	for _, want := range []string{",command,enable_rate_limiting,", "," + s.name("operator") + ",", "refused: it isn't signed", "an old message again"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q isn't in the audit log: %s", want, out)
		}
	}
	if out := s.mustWeir("audit verify", "--audit-dir", s.dir); !strings.Contains(out, "every line is as it was written") {
		t.Error(out)
	}
	audited := filepath.Join(s.dir, "audit-controller.log")
	text, err := os.ReadFile(audited)
	must(t, err)
	forged := filepath.Join(t.TempDir(), "audit-controller.log")
	must(t, os.WriteFile(forged, []byte(strings.Replace(string(text), "it isn't signed", "it is signed   ", 1)), 0o600))
	head, err := os.ReadFile(audited + ".head")
	must(t, err)
	must(t, os.WriteFile(forged+".head", head, 0o600))
	if out, status := s.weir("audit verify", forged); status == 0 || !strings.Contains(out, "was changed") {
		t.Errorf("status %d: %s", status, out)
	}

	// Revoked, and the trust file read again.
	s.keysDo("revoke", s.name("operator"))
	s.spread()
	for _, p := range []*te.Process{broker, controller, monitor} {
		p.Signal(syscall.SIGHUP)
	}
	controller.Await(t, "identity read again", patience)
	if out, status := s.weir("ctl enable-rate-limiting", s.as("operator", "--timeout", "2s")...); status == 0 {
		t.Errorf("a revoked operator commands: %s", out)
	}
	enforcing(false)
}
