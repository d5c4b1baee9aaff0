package export

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
)

type exporter func(*trust.File, map[string]Hashes, Options) (map[string][]byte, error)

var exporters = map[string]exporter{"mosquitto": Mosquitto, "nats": NATS, "emqx": EMQX}

func hashesOf(t *testing.T, members ...*te.Member) map[string]Hashes {
	t.Helper()
	all := map[string]Hashes{}
	for _, m := range members {
		h, err := Hash(m.Secret)
		if err != nil {
			t.Fatal(err)
		}
		all[m.Name] = h
	}
	return all
}

// TestWhatIsWritten for a sensor and a monitor, literally.
func TestWhatIsWritten(t *testing.T) {
	ca := te.NewAuthority(t)
	sensor := ca.Issue(t, trust.Identity{Name: "sensor-aaaaaaaa", Role: trust.Sensor, Org: "<1>", Site: "north", Server: `b"k`})
	monitor := ca.Issue(t, trust.Identity{Name: "monitor-aaaaaaaa", Role: trust.Monitor, Org: "<1>"})
	now := time.Now().UTC()
	gone := ca.Issue(t, trust.Identity{Name: "viewer-revokedd", Role: trust.Viewer, Org: "<1>", Revoked: &now})
	hashes := hashesOf(t, sensor, monitor, gone)
	f := ca.File(sensor, monitor, gone, ca.Issue(t, trust.Identity{Name: "broker-aaaaaaaa", Role: trust.Broker, Org: "<1>"}))
	for broker, want := range map[string]map[string][]string{
		"mosquitto": {
			"acl": {"\nuser sensor-aaaaaaaa\ntopic read <1>/north/b\"k/control/command\ntopic write <1>/north/b\"k/metrics/cpu\n" +
				"topic write <1>/north/b\"k/metrics/ram\ntopic write <1>/north/b\"k/metrics/network\ntopic write <1>/north/b\"k/status/sensor\n" +
				"\nuser monitor-aaaaaaaa\ntopic deny <1>/metrics/#\ntopic deny <1>/status/#\ntopic read <1>/+/metrics/#\n"},
			"passwd": {"sensor-aaaaaaaa:$7$101$"},
			"weir.conf": {"\nlistener 8883 0.0.0.0\n", "\nrequire_certificate true\n", "\nallow_anonymous false\n",
				"\nacl_file /etc/mosquitto/weir/acl\n", "\ntls_version tlsv1.3\n"},
		},
		"nats": {"nats-server.conf": {
			`subscribe: { allow: ["$MQTT.sub.>", "<1>.north.b\"k.control.command"] }`,
			`publish: { allow: ["<1>.*.alerts", "<1>.*.control.command", "<1>.*.status.notification"], deny: ["<1>.metrics", "<1>.metrics.>", "<1>.status", "<1>.status.>"] }`,
			`"<1>.*.metrics", "<1>.*.metrics.>"`, `password: "$2a$`, `allowed_connection_types: ["MQTT"]`, "verify: true",
		}},
		"emqx": {
			"acl.conf": {
				`{allow, {username, "sensor-aaaaaaaa"}, publish, ["<1>/north/b\"k/status/sensor"]}.` + "\n",
				`{allow, {username, "sensor-aaaaaaaa"}, {publish, [{retain, false}]}, ["<1>/north/b\"k/metrics/cpu", `,
				`{deny, {username, "monitor-aaaaaaaa"}, publish, ["<1>/metrics/#", "<1>/status/#"]}.` + "\n", "\n{deny, all}.\n",
			},
			"users.csv": {"user_id,password_hash,salt,is_superuser\nsensor-aaaaaaaa,$2a$04$"},
			"weir.conf": {"peer_cert_as_username = cn", "fail_if_no_peer_cert = true", "no_match = deny", `path = "/etc/emqx/weir/acl.conf"`},
		},
	} {
		files, err := exporters[broker](f, hashes, Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		for name, texts := range want {
			for _, text := range texts {
				if !strings.Contains(string(files[name]), text) {
					t.Errorf("%s's %s has no %s:\n%s", broker, name, text, files[name])
				}
			}
		}
		for name, text := range files {
			if strings.Contains(string(text), gone.Name) || strings.Contains(string(text), "broker-aaaaaaaa") {
				t.Errorf("%s's %s has somebody who is no user", broker, name)
			}
		}
		if string(files["ca.crt"]) != ca.PEM() {
			t.Errorf("%s has another root", broker)
		}
	}
}

// An Erlang term of an ACL as EMQX's grammar has it: strings, atoms, tuples, lists.
var rule = regexp.MustCompile(`^\{(allow|deny), \{username, "[a-z2-7-]+"\}, (publish|subscribe|\{publish, \[\{retain, false\}\]\}), ` +
	`\["(?:[^"\\]|\\["\\])+"(, "(?:[^"\\]|\\["\\])+")*\]\}\.$`)

func TestEMQXsForms(t *testing.T) {
	w := newWorld(t)
	files, err := EMQX(w.file(), w.hashes, Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(files["acl.conf"])), "\n")
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "%%") && !rule.MatchString(line) {
			t.Errorf("no rule: %s", line)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(string(files["users.csv"]))).ReadAll()
	if err != nil || len(rows) < 20 || len(rows[1]) != 4 {
		t.Errorf("users.csv has %d rows: %v", len(rows), err)
	}
	text := string(files["weir.conf"])
	if strings.Count(text, "{") != strings.Count(text, "}") || strings.Contains(text, "%!") {
		t.Errorf("weir.conf:\n%s", text)
	}
}

func TestRefused(t *testing.T) {
	ca := te.NewAuthority(t)
	for _, c := range []struct {
		server  string
		refused []string // by whom
	}{
		{"bank", nil}, {"bänk", nil}, {"a b", []string{"nats"}}, {"bank.example", []string{"nats"}}, {"${username}", []string{"emqx"}},
		{" bank", []string{"emqx", "mosquitto", "nats"}}, {"bank ", []string{"emqx", "mosquitto", "nats"}},
		{"a\u200bb", []string{"emqx", "mosquitto", "nats"}}, {"a\u00a0b", []string{"emqx", "mosquitto", "nats"}},
	} {
		m := ca.Issue(t, trust.Identity{Name: "sensor-aaaaaaaa", Role: trust.Sensor, Org: "o", Server: c.server})
		var refused []string
		for name, export := range exporters {
			if _, err := export(ca.File(m), hashesOf(t, m), Options{Now: time.Now()}); err != nil {
				refused = append(refused, name)
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("not one line: %v", err)
				}
			}
		}
		if slices.Sort(refused); !slices.Equal(refused, c.refused) {
			t.Errorf("%q is refused by %v", c.server, refused)
		}
	}
	m := ca.Issue(t, trust.Identity{Name: "sensor-aaaaaaaa", Role: trust.Sensor, Org: "o", Server: "bank"})
	good := hashesOf(t, m)
	for want, c := range map[string]struct {
		f      *trust.File
		hashes map[string]Hashes
		o      Options
	}{
		"weir keys rotate sensor-aaaaaaaa": {ca.File(m), nil, Options{Now: time.Now()}},
		"no hash":                          {ca.File(m), map[string]Hashes{m.Name: {PBKDF2: "x\nuser", Bcrypt: "y"}}, Options{Now: time.Now()}},
		"nobody":                           {ca.File(), good, Options{Now: time.Now()}},
		"nobody who is good":               {ca.File(m), good, Options{Now: time.Now().Add(48 * time.Hour)}},
		"host:port":                        {ca.File(m), good, Options{Now: time.Now(), Listen: "8883"}},
		"absolute":                         {ca.File(m), good, Options{Now: time.Now(), Dir: "weir"}},
		"without spaces":                   {ca.File(m), good, Options{Now: time.Now(), Dir: "/etc/a\nb"}},
	} {
		for name, export := range exporters {
			if _, err := export(c.f, c.hashes, c.o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: want %s, got %v", name, want, err)
			}
		}
	}
}

func TestHashes(t *testing.T) {
	for _, bad := range []string{"", "secret", strings.Repeat("x", 73)} {
		if _, err := Hash(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	dir, password := t.TempDir(), strings.Repeat("p", 43)
	h, err := Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	if bcrypt.CompareHashAndPassword([]byte(h.Bcrypt), []byte(password)) != nil {
		t.Error("bcrypt doesn't match")
	}
	if again, _ := Hash(password); again == h {
		t.Error("no salt")
	}
	if _, err := ReadHashes(dir); err == nil || !strings.Contains(err.Error(), "weir keys issue") {
		t.Error(err)
	}
	for _, name := range []string{"sensor-aaaaaaaa", "viewer-aaaaaaaa"} {
		if err := AddHashes(dir, name, h); err != nil {
			t.Fatal(err)
		}
	}
	if AddHashes(dir, "x", Hashes{}) == nil {
		t.Error("no hashes are taken")
	}
	all, err := ReadHashes(dir)
	if err != nil || len(all) != 2 || all["sensor-aaaaaaaa"] != h {
		t.Errorf("%v, %v", all, err)
	}
	path := filepath.Join(dir, HashesFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if AddHashes(dir, "sensor-aaaaaaaa", h) == nil {
		t.Error("a broken file is overwritten")
	}
}
