package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
)

func TestListsAreRepeatedFlagsAndYAMLLists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	for _, row := range []struct {
		name, yaml string
		args       []string
		want       string
	}{
		{"once", "", []string{"--interface=eth0"}, "eth0"},
		{"repeated", "", []string{"--interface=eth0", "--interface", "eth1,eth2"}, "eth0,eth1,eth2"},
		{"a value", "interface: eth0,eth1", nil, "eth0,eth1"},
		{"a list", "interface: [eth0, eth1]", nil, "eth0,eth1"},
		{"a list below", "interface:\n  - eth0\n  - eth1\n", nil, "eth0,eth1"},
		{"the flag before the file", "interface: [eth0, eth1]", []string{"--interface=eth7"}, "eth7"},
	} {
		if err := os.WriteFile(path, []byte(row.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
		Register(fs, "up")
		if err := fs.Parse(row.args); err != nil {
			t.Fatal(err)
		}
		if c, err := Load(fs, path, nil); err != nil || c.Interface != row.want {
			t.Errorf("%s: %+v, %v; want %s", row.name, c, err, row.want)
		}
	}
	for _, wrong := range []string{"interface: [eth0, [eth1]]", "interface: [eth0, ~]", "interface: ['a,b']", "server: [a, b]"} {
		if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Load(nil, path, nil); err == nil {
			t.Errorf("%s is taken as %q", wrong, c.Interface)
		}
	}
}
