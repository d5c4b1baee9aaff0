package trust

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	end   = begin.AddDate(0, 0, 90)
	key   = base64.StdEncoding.EncodeToString(make([]byte, 32))
)

func sensor() Identity {
	return Identity{
		Name: "sensor-k3v2q2xd", Role: Sensor, Org: "<103795587>", Server: "bank_server", Algorithm: Ed25519, Key: key,
		Certificate: Sum([]byte("certificate")), Password: Sum([]byte("password")), NotBefore: begin, NotAfter: end,
	}
}

func encode(t *testing.T, f File) []byte {
	t.Helper()
	b, err := json.Marshal(f)
	must(t, err)
	return b
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trust.json")
	must(t, os.WriteFile(path, encode(t, File{Version: 1, Identities: []Identity{sensor()}}), 0o644))
	f, err := Read(path)
	must(t, err)
	id, ok := f.Find("sensor-k3v2q2xd")
	if !ok || id != sensor() {
		t.Errorf("%+v", id)
	}
	if _, ok := f.Find("sensor-aaaaaaaa"); ok {
		t.Error("nobody is found")
	}
	if _, err := Read(path + "x"); err == nil {
		t.Error("no file, no error")
	}
}

func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*Identity){
		"no name": func(id *Identity) { id.Name = "" }, "a path for a name": func(id *Identity) { id.Name = "../x" },
		"a topic for a name": func(id *Identity) { id.Name = "sensor-a/b#+aaaaaa" }, "no role": func(id *Identity) { id.Role = "" },
		"another role": func(id *Identity) { id.Role = "root" }, "no server": func(id *Identity) { id.Server = "" },
		"a viewer of one server": func(id *Identity) { id.Role, id.Key, id.Algorithm = Viewer, "", "" },
		"a viewer's key":         func(id *Identity) { id.Role, id.Server = Viewer, "" },
		"a wildcard":             func(id *Identity) { id.Server = "+" }, "a site with a slash": func(id *Identity) { id.Site = "a/b" },
		"no org": func(id *Identity) { id.Org = "" }, "no key": func(id *Identity) { id.Key = "" },
		"no algorithm": func(id *Identity) { id.Algorithm = "none" }, "a label of two lines": func(id *Identity) { id.Label = "a\nb" }, "a short key": func(id *Identity) { id.Key = "AAAA" },
		"a plain password": func(id *Identity) { id.Password = "secret" }, "no time": func(id *Identity) { id.NotAfter = id.NotBefore },
	} {
		id := sensor()
		change(&id)
		if _, err := Parse(encode(t, File{Version: 1, Identities: []Identity{id}})); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "another version": `{"version": 2}`, "unknown member": `{"version": 1, "deny": []}`, "two": `{"version": 1}{"version": 1}`,
		"twice": string(encode(t, File{Version: 1, Identities: []Identity{sensor(), sensor()}})), "broken": "{", "a list": "[]",
	} {
		if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoAndWhen(t *testing.T) {
	id := sensor()
	for at, want := range map[time.Time]string{begin.Add(-time.Second): "clock", begin: "", end: "", end.Add(time.Second): "rotate"} {
		if err := id.Valid(at); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("at %v: %v", at, err)
		}
	}
	when := begin.Add(time.Hour)
	id.Revoked = &when
	if id.Valid(when.Add(-time.Hour)) == nil || id.Valid(when) == nil {
		t.Error("revoking doesn't end it, or not where the clock is behind")
	}
	bank := wire.Root{Org: "<103795587>", Server: "bank_server"}
	other := wire.Root{Org: "<103795587>", Server: "other"}
	site := wire.Root{Org: "<103795587>", Site: "north", Server: "bank_server"}
	monitor := sensor()
	monitor.Role, monitor.Server = Monitor, ""
	for _, c := range []struct {
		id   Identity
		root wire.Root
		want bool
	}{{id, bank, true}, {id, other, false}, {id, site, false}, {monitor, bank, true}, {monitor, other, true}, {monitor, site, false}} {
		if got := c.id.Speaks(c.root); got != c.want {
			t.Errorf("%s of %s speaks for %v: %v", c.id.Role, c.id.Server, c.root, got)
		}
	}
}

func TestEnding(t *testing.T) {
	now := end.AddDate(0, 0, -10)
	lasts := func(name, label string, days int) Identity {
		id := sensor()
		id.Name, id.Label, id.NotAfter = name, label, now.AddDate(0, 0, days)
		return id
	}
	revoked, elsewhere := lasts("sensor-revokedd", "d", 5), lasts("sensor-elsewher", "e", 5)
	revoked.Revoked, elsewhere.Site = &now, "north"
	f := File{Identities: []Identity{
		lasts("sensor-tendaysx", "a", 10), lasts("sensor-ninedays", "b", 9), lasts("sensor-rotatedx", "c", 5), lasts("sensor-successo", "c", 90),
		lasts("sensor-endedxxx", "f", -1), lasts("sensor-latexxxx", "g", 15), revoked, elsewhere,
	}}
	var got []string
	for _, id := range f.Ending(now, 14*24*time.Hour, sensor().Org, "") {
		got = append(got, id.Name)
	}
	if want := "sensor-ninedays sensor-tendaysx"; strings.Join(got, " ") != want {
		t.Errorf("%q end soon, want %q", got, want)
	}
}

func TestBothFactors(t *testing.T) {
	id := sensor()
	for _, c := range []struct {
		certificate, password string
		want                  bool
	}{{"certificate", "password", true}, {"certificate", "other", false}, {"other", "password", false}, {"", "", false}} {
		if got := id.Shows([]byte(c.certificate), []byte(c.password)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	id.Certificate, id.Password = "", ""
	if id.Shows(nil, nil) || id.Shows([]byte("certificate"), []byte("password")) {
		t.Error("who has no factors gets in")
	}
	if s := sha256.Sum256([]byte("x")); Sum([]byte("x")) != hex.EncodeToString(s[:]) {
		t.Error("Sum")
	}
}

func FuzzParse(f *testing.F) {
	id := sensor()
	b, err := json.Marshal(File{Version: 1, Identities: []Identity{id}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"version": 1, "authority": "x", "identities": []}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse([]byte(text))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		for _, id := range file.Identities {
			if err := id.root().Validate(); err != nil || id.Role.Signs() != (len(id.PublicKey()) == 32) {
				t.Errorf("%+v: %v", id, err)
			}
		}
	})
}
