package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestNoSecretInTheLog: what goes wrong with all of them configured is logged, and none of them with it. People type their password where
// their name belongs, too.
func TestNoSecretInTheLog(t *testing.T) {
	te.Tool(t, "curl")
	s := newSite(t)
	secrets := map[string]string{}
	secret := func(of string) string {
		secrets[of] = "hunter2-" + strings.ReplaceAll(of, " ", "-")
		return secrets[of]
	}
	users := filepath.Join(s.dir, "users.yaml")
	add := exec.Command(binary, "web", "user", "add", "alice", "--role", "operator", "--file", users)
	add.Stdin = strings.NewReader(secret("users password") + "\n")
	out, err := add.CombinedOutput()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		t.Fatalf("%v: %s", err, out)
	}
	secrets["totp"] = fields[len(fields)-2]
	if stored, _ := os.ReadFile(users); !strings.Contains(string(stored), secrets["totp"]) {
		t.Fatalf("%q isn't the TOTP secret", secrets["totp"])
	}

	up := s.start("up", "--log-level", "debug", "--web-users", users, "--metrics-listen", metricsAddr,
		"--metrics-token-file", s.write("token", secret("token")+"\n", 0o600),
		"--notify-alertmanager", "http://weir@127.0.0.1:9", "--notify-alertmanager-password-file", s.write("am", secret("alertmanager")+"\n", 0o600),
		"--notify-webhook", "http://127.0.0.1:9/"+secret("webhook path")+"?token="+secret("webhook query"),
		"--notify-webhook-key-file", s.write("key", secret("webhook key")+"\n", 0o600),
		"--scaling-backend", "systemd", "--scaling-unit", "nothing-like-it@.service", "--scaling-health", "http://u:"+secret("health")+"@127.0.0.1:9/{n}?"+secret("health query"),
		"--scaling-exec-env", "PASSWORD="+secret("program"))
	var said strings.Builder // by other programs, about secrets
	tell := func(out string, _ int) { said.WriteString(out) }
	tell(s.weir("ctl test-alert"))
	tell(s.weir("ctl scale-up"))
	up.Await(t, "a test of the notifiers failed", patience)
	post := func(name, password, code string) {
		body, _ := json.Marshal(map[string]string{"name": name, "password": password, "code": code})
		out, _ := s.Bank.Command(t.Context(), "curl", "-s", "-H", "Content-Type: application/json", "-d", string(body), "http://127.0.0.1:8080/api/session").CombinedOutput()
		said.Write(out)
	}
	post(secrets["users password"], "", "")
	post("alice", secrets["users password"], secrets["totp"])
	up.Await(t, "somebody failed to sign in", patience)
	out, _ = s.Bank.Command(t.Context(), "curl", "-s", "-H", "Authorization: Bearer not-"+secrets["token"], "http://"+metricsAddr+"/metrics").CombinedOutput()
	said.Write(out)

	// One that refuses the password, and one that isn't there.
	refusing := s.write("mosquitto.conf", "listener 1999 127.0.0.1\nallow_anonymous false\n", 0o644)
	s.Bank.Start(t, "mosquitto", "-c", refusing).Await(t, "running", patience)
	for _, broker := range []string{
		"tcp://alice:" + secret("broker") + "@127.0.0.1:1999", "tcp://alice:" + secrets["broker"] + "@127.0.0.1:9",
		"ws://127.0.0.1:9/mqtt?token=" + secret("broker query"),
	} {
		m := s.Bank.Start(t, binary, s.args("monitor", "--broker", broker, "--log-level", "debug")...)
		m.Await(t, "can't be reached", patience)
		said.WriteString(m.Output())
		m.Stop()
	}
	for _, wrong := range [][]string{
		{"--broker", "tcp://alice:" + secrets["broker"] + "@h:port"}, {"--broker", "tcp://h?" + secrets["broker query"]},
		{"--notify-webhook", "http://alice:" + secrets["webhook query"] + "@h:port"},
	} {
		out, status := s.weir("monitor", wrong...)
		if status != 1 {
			t.Errorf("%v is taken", wrong)
		}
		tell(out, status)
	}
	if out, status := s.weir("controller", "--scaling-exec-env", secrets["program"]); status != 1 {
		t.Errorf("no name before = is taken: %s", out)
	} else {
		tell(out, status)
	}

	audits, err := filepath.Glob(filepath.Join(s.dir, "audit-*.log"))
	must(t, err)
	if len(audits) != 2 {
		t.Errorf("audit logs: %v", audits)
	}
	texts := map[string]string{"weir up": up.Output(), "the others": said.String()}
	for _, path := range audits {
		b, err := os.ReadFile(path)
		must(t, err)
		texts[path] = string(b)
	}
	for where, text := range texts {
		for of, secret := range secrets {
			for line := range strings.Lines(text) {
				if strings.Contains(line, secret) {
					t.Errorf("%s, secret of %s: %s", where, of, line)
				}
			}
		}
	}
	for _, part := range []string{"notifier", "scal"} { // it has been about them
		if !strings.Contains(texts["weir up"], part) {
			t.Errorf("nothing about %s:\n%s", part, texts["weir up"])
		}
	}
}
