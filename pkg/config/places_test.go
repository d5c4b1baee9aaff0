package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func init() { defaultFile = "/nonexistent/weir.yaml" } // not that of the machine on which tests run

// at has another default file for one test.
func at(t *testing.T, path string) {
	was := defaultFile
	defaultFile = path
	t.Cleanup(func() { defaultFile = was })
}

func TestDefaultFile(t *testing.T) {
	at(t, writeFile(t, "weir.yaml", "server: standard\n"))
	other := writeFile(t, "other.yaml", "server: other\n")
	for _, c := range []struct {
		env   []string
		yaml  string
		want  string
		given bool
	}{
		{want: "standard", given: true},
		{env: []string{"WEIR_CONFIG=" + other}, want: "other", given: true},
		{env: []string{"WEIR_CONFIG="}, want: Default().Server},
		{yaml: "server: named\n", want: "named", given: true},
	} {
		if got := (layers{yaml: c.yaml, env: c.env}).must(t); got.Server != c.want || got.Given("server") != c.given {
			t.Errorf("%+v: %s, given %t", c, got.Server, got.Given("server"))
		}
	}
}

func TestDefaultFileThatCannotBeRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at(t, dir+"/weir.yaml") // no directory: for root, too, nothing to open
	c := layers{}.must(t)
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "don't count here") {
		t.Errorf("warnings: %q", c.Warnings)
	}
	at(t, writeFile(t, "weir.yaml", "servr: x\n"))
	if _, err := (layers{}).load(t); err == nil || !strings.Contains(err.Error(), "servr") {
		t.Errorf("a wrong default file: %v", err)
	}
}

func TestStateDirectory(t *testing.T) {
	c := layers{env: []string{"STATE_DIRECTORY=/var/lib/weir-web:/other"}}.must(t)
	if c.Broker.State != "/var/lib/weir-web" || c.Audit.Dir != "/var/lib/weir-web" || c.Web.History != "/var/lib/weir-web/history.db" {
		t.Errorf("state %s, audit %s, history %s", c.Broker.State, c.Audit.Dir, c.Web.History)
	}
	if c := (layers{yaml: "state: /srv\n", env: []string{"STATE_DIRECTORY=/var/lib/weir-web"}}).must(t); c.Broker.State != "/srv" {
		t.Errorf("the file says /srv, not %s", c.Broker.State)
	}
}
