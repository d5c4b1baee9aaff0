package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// layers is what a test gives to Load.
type layers struct {
	yaml  string // no file if empty
	env   []string
	flags []string
}

func (l layers) load(t testing.TB) (*Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Register(fs, "config")
	if err := fs.Parse(l.flags); err != nil {
		return nil, err
	}
	file := ""
	if l.yaml != "" {
		file = writeFile(t, "weir.yaml", l.yaml)
	}
	return Load(fs, file, l.env)
}

func (l layers) must(t testing.TB) *Config {
	t.Helper()
	c, err := l.load(t)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// values is a configuration without where it came from.
func values(c *Config) Config {
	v := *c
	v.given, v.Warnings = nil, nil
	return v
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNothingGivenIsTheDefault(t *testing.T) {
	c := layers{}.must(t)
	if got, want := values(c), *Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if c.Given("interface") || len(c.Warnings) > 0 {
		t.Errorf("given %v, warnings %q", c.given, c.Warnings)
	}
}

func TestPrecedence(t *testing.T) {
	yaml := "monitor:\n  syn-threshold: 1\n"
	env := []string{"HOME=/", "WEIR_MONITOR_SYN_THRESHOLD=2"}
	flags := []string{"--monitor-syn-threshold=3"}
	for _, c := range []struct {
		name   string
		layers layers
		want   float64
		from   string
	}{
		{"default", layers{}, 700, ""},
		{"file", layers{yaml: yaml}, 1, "line 2 of the file"},
		{"variable over file", layers{yaml: yaml, env: env}, 2, "WEIR_MONITOR_SYN_THRESHOLD"},
		{"flag over all", layers{yaml: yaml, env: env, flags: flags}, 3, "--monitor-syn-threshold"},
		{"flag with the default's value", layers{yaml: yaml, flags: []string{"--monitor-syn-threshold=700"}}, 700, "--monitor-syn-threshold"},
	} {
		got := c.layers.must(t)
		if got.Monitor.SYNThreshold != c.want || got.given["monitor.syn-threshold"] != c.from {
			t.Errorf("%s: %v from %q", c.name, got.Monitor.SYNThreshold, got.given["monitor.syn-threshold"])
		}
		if got.Given("monitor.syn-threshold") != (c.from != "") {
			t.Errorf("%s: given %v", c.name, got.Given("monitor.syn-threshold"))
		}
	}
}

func TestEveryTypeByEveryWay(t *testing.T) {
	want := *Default()
	want.Interface, want.Listen.AllowRemote, want.Sensor.TopSources = "eth7", true, 3
	want.Limit.Rate, want.Limit.Lease, want.Monitor.ClearRatio = 5, 90*time.Second, 0.5
	want.Sensor.Interval, want.Monitor.Interval = 2*time.Second, 2*time.Second
	for name, l := range map[string]layers{
		"file": {yaml: "interface: eth7\nallow-remote: true\nsensor: {interval: 2s, top-sources: 3}\n" +
			"limit:\n  rate: 5\n  lease: 1m30s\nmonitor:\n  clear-ratio: .5\n"},
		"dotted keys": {yaml: "interface: 'eth7'\nallow-remote: true\nsensor.interval: 2000ms\nsensor.top-sources: 3\n" +
			"limit.rate: \"5\"\nlimit.lease: 90s\nmonitor.clear-ratio: 5e-1\n"},
		"variables": {env: []string{"WEIR_INTERFACE=eth7", "WEIR_ALLOW_REMOTE=true", "WEIR_SENSOR_INTERVAL=2s",
			"WEIR_SENSOR_TOP_SOURCES=3", "WEIR_LIMIT_RATE=5", "WEIR_LIMIT_LEASE=1.5m", "WEIR_MONITOR_CLEAR_RATIO=0.5"}},
		"flags": {flags: []string{"--interface", "eth7", "--allow-remote", "--sensor-interval=2s", "--sensor-top-sources=3",
			"--limit-rate=5", "--limit-lease=90s", "--monitor-clear-ratio=0.50"}},
	} {
		if got := values(l.must(t)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestFileByVariable(t *testing.T) {
	file := writeFile(t, "weir.yaml", "org: bank\nsite: oslo")
	c := layers{env: []string{"WEIR_CONFIG=" + file}}.must(t)
	if got := c.Root().String(); got != "bank/oslo/bank_server" {
		t.Errorf("root %q", got)
	}
	other := writeFile(t, "weir.yaml", "org: other")
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c, err := Load(fs, other, []string{"WEIR_CONFIG=" + file})
	if err != nil || c.Root().String() != "other/bank_server" {
		t.Errorf("the file of the flag comes first: %+v, %v", c, err)
	}
	if _, err := Load(fs, "", []string{"WEIR_CONFIG="}); err != nil {
		t.Error(err)
	}
}

func TestRegisterByCommand(t *testing.T) {
	for _, c := range []struct{ command, has, hasNot string }{
		{"up", "interface broker listen sensor-interval limit-rate monitor-calm log-level", "client-id password"},
		{"sensor", "interface bpffs org broker client-id sensor-sources limit-rate log-level", "listen monitor-calm limit-lease"},
		{"monitor", "org broker sensor-interval monitor-calm", "interface limit-rate listen"},
		{"controller", "interface broker limit-rate limit-burst limit-lease", "sensor-sources listen"},
		{"broker", "listen listen-ws allow-remote log-level", "broker org interface"},
		{"ctl", "broker org password-file log-level", "interface limit-rate"},
		{"status", "interface bpffs", "broker"},
		{"unload", "interface bpffs", "broker"},
		{"config", "interface broker listen monitor-calm limit-lease client-id", "password"},
		{"version", "", "log-level interface"},
	} {
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		Register(fs, c.command)
		for _, name := range strings.Fields(c.has) {
			if fs.Lookup(name) == nil {
				t.Errorf("%s lacks --%s", c.command, name)
			}
		}
		for _, name := range strings.Fields(c.hasNot) {
			if fs.Lookup(name) != nil {
				t.Errorf("%s has --%s", c.command, name)
			}
		}
	}
}

func TestSettingsAreTheirOwn(t *testing.T) {
	c, fields, names := &Config{}, map[any]string{}, map[string]bool{}
	for _, s := range Settings {
		if other := fields[s.field(c)]; other != "" {
			t.Errorf("%s and %s are the same field", s.Key, other)
		}
		fields[s.field(c)] = s.Key
		for _, name := range []string{s.Key, "--" + s.Flag, s.Env} {
			if names[name] && name != "--" {
				t.Errorf("%s is there twice", name)
			}
			names[name] = true
		}
		if s.Help == "" || len(s.Commands) == 0 || s.Type == "" || strings.ContainsAny(s.Help, "\n`") {
			t.Errorf("%s is not explained", s.Key)
		}
	}
}
