package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func dump(t testing.TB, c *Config) string {
	t.Helper()
	var out bytes.Buffer
	if err := Dump(&out, c); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// reload demands that a dump is the same configuration, secrets left out.
func reload(t testing.TB, c *Config) {
	t.Helper()
	text := dump(t, c)
	again, err := layers{yaml: text}.load(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want := values(c)
	if want.Broker.PasswordFile == "" {
		want.Broker.Password = ""
	}
	if got := values(again); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v\n%s", got, want, text)
	}
}

func TestDumpReloads(t *testing.T) {
	reload(t, Default())
	reload(t, layers{
		yaml: "org: 'a \"b\" \\c: #d'\nsite: ä…\nserver: ' x '\npassword: x\nbroker: wss://u:p@[::1]:8/m?x=y",
		env:  []string{"WEIR_MONITOR_CLEAR_RATIO=0.123456789012345678", "WEIR_LIMIT_LEASE=1h", "WEIR_MONITOR_CALM=-1h0m0.5s"},
		flags: []string{"--listen-ws=", "--allow-remote", "--interface=null", "--client-id=- *a", "--monitor-syn-floor=1e300",
			"--limit-rate=18446744073709551615"},
	}.must(t))
	reload(t, layers{flags: []string{"--password-file", writeFile(t, "p w", "x")}}.must(t))
}

func TestDumpExplainsEverything(t *testing.T) {
	text := dump(t, layers{env: []string{"WEIR_INTERFACE=eth0", "WEIR_PASSWORD=x"}, flags: []string{"--log-level=warn"}}.must(t))
	for _, s := range Settings {
		for _, part := range []string{"# " + s.Help + "\n", s.Env, string(s.Type)} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing", s.Key, part)
			}
		}
	}
	for _, line := range []string{
		"interface: \"eth0\"  # from WEIR_INTERFACE\n", "# password: set, not shown  # from WEIR_PASSWORD\n",
		"  level: \"warn\"  # from --log-level\n", "  lease: 10m\n",
		"  # duration, default 10m; --limit-lease, WEIR_LIMIT_LEASE\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
	if !strings.Contains(dump(t, Default()), "# password: not set\n") {
		t.Error("an unset password is not told")
	}
}

// FuzzLoad gives anything as a file, a variable and a flag. What is refused takes one line to say; what is accepted can be
// dumped and loaded again.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(dump(f, Default())), "WEIR_ORG=x", "--limit-rate=1")
	f.Add([]byte("org: a\norg: b"), "WEIR_LIMIT_RATE=fast", "--org=")
	f.Add([]byte("\xef\xbb\xbfmonitor:\n\tcalm: 1m"), "WEIR_CONFIG=", "--allow-remote")
	f.Add([]byte("monitor: {calm: 1m, <<: *x}"), "WEIR_", "--monitor-calm=1h")
	f.Add([]byte("broker: tcp://u:p@[::1]:1?q#f"), "WEIR_BROKER=ws://a:b@h/x", "--broker=x")
	f.Add([]byte("? - a\n: !!set {b}\n--- |\n x"), "=", "-x")
	f.Add([]byte(`org: "\U0001F600\xA0\uFEFF"`), "WEIR_MONITOR_CLEAR_RATIO=0x1p-2", "--monitor-clear-ratio=NaN")
	f.Add([]byte("&a [*a, *a]"), "WEIR_SENSOR_INTERVAL=1e9h", "--sensor-top-sources=-0")
	f.Fuzz(func(t *testing.T, yaml []byte, variable, flag string) {
		if strings.HasPrefix(variable, FileEnv+"=") || strings.Contains(variable+flag, "PASSWORD_FILE") ||
			strings.Contains(flag, "password-file") || bytes.Contains(yaml, []byte("password-file")) {
			return // would read any file of this machine
		}
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		Register(flags, "config")
		_ = flags.Parse([]string{flag})
		c, err := Load(flags, writeFile(t, "weir.yaml", string(yaml)), []string{variable})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00\x1b") || len(err.Error()) > 700 {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		reload(t, c)
	})
}
