package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/export"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
)

func TestBrokerExport(t *testing.T) {
	dir := t.TempDir()
	ca := te.NewAuthority(t)
	m := ca.Issue(t, trust.Identity{Name: "viewer-aaaaaaaa", Role: trust.Viewer, Org: "o"})
	text, err := json.Marshal(ca.File(m))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "trust.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) (string, error) {
		cmd, out := newRoot(), &bytes.Buffer{}
		cmd.SetOut(out)
		cmd.SetErr(out)
		cmd.SetArgs(append([]string{"broker", "export"}, args...))
		err := cmd.Execute()
		return out.String(), err
	}
	out := filepath.Join(dir, "out")
	for want, args := range map[string][]string{
		"mosquitto, emqx, nats": {},
		"--out":                 {"nats", "--trust", path, "--secrets", dir},
		"weir keys issue":       {"nats", "--trust", path, "--secrets", dir, "--out", out},
		"no such file":          {"nats", "--trust", path + "x", "--secrets", dir, "--out", out},
	} {
		if _, err := do(args...); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", args, err)
		}
	}
	h, err := export.Hash(m.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := export.AddHashes(dir, m.Name, h); err != nil {
		t.Fatal(err)
	}
	for broker, file := range map[string]string{"mosquitto": "acl", "nats": "nats-server.conf", "emqx": "acl.conf"} {
		printed, err := do(broker, "--trust", path, "--secrets", dir, "--out", out, "--listen", "127.0.0.1:8884")
		if err != nil || !strings.Contains(printed, filepath.Join(out, file)+"\n") {
			t.Errorf("%s: %v: %s", broker, err, printed)
		}
		text, err := os.ReadFile(filepath.Join(out, file))
		if err != nil || !strings.Contains(string(text), m.Name) {
			t.Errorf("%s: %v: %s", broker, err, text)
		}
		if info, err := os.Stat(filepath.Join(out, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
