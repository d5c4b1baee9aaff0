package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestErrorsAreOneLineWithAMend runs commands that can't work.
func TestErrorsAreOneLineWithAMend(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s.start("broker")
	for _, row := range []struct {
		args []string
		want []string
	}{
		{[]string{"sensor", "--interface", "eth9"}, []string{`"eth9"`, "--interface", "eth0"}},
		{[]string{"status", "--interface", "eth0", "--bpffs", s.bpffs}, []string{"start weir sensor"}},
		{[]string{"status", "--interface", "eth0", "--bpffs", dir}, []string{"start weir sensor"}},
		{[]string{"sensor", "--interface", "eth0", "--bpffs", "/nowhere"}, []string{"/nowhere", "mount -t bpf"}},
		{[]string{"up", "--interface", "eth0", "--bpffs", s.bpffs}, []string{"127.0.0.1:1883 is in use", "--broker"}},
		{[]string{"broker", "--listen", "127.0.0.1:1883"}, []string{"is in use"}},
		{[]string{"broker", "--listen", "0.0.0.0:1884"}, []string{"--allow-remote"}},
		{[]string{"broker", "--listen", "here"}, []string{"host:port"}},
		{[]string{"sensor", "--interface", "eth0", "--limit-rate", "0"}, []string{"rate 0"}},
		{[]string{"sensor", "--interface", "eth0", "--sensor-sources", "1000"}, []string{"power of two"}},
		{[]string{"controller", "--interface", "eth0", "--limit-lease", "25h"}, []string{"lease"}},
		{[]string{"monitor", "--monitor-clear-ratio", "2"}, []string{"clear ratio"}},
		{[]string{"monitor", "--org", "a/b"}, []string{"a/b", "another name"}},
		{[]string{"monitor", "--broker", "http://x"}, []string{"tcp://127.0.0.1:1883"}},
		{[]string{"monitor", "--config", filepath.Join(dir, "missing")}, []string{"missing"}},
		{[]string{"monitor", "--config", file("typo", "monitor:\n  syn-treshold: 7\n")}, []string{"typo:2", "syn-threshold"}},
		{[]string{"monitor", "--config", file("type", "monitor:\n  syn-threshold: many\n")}, []string{"type:2", "many"}},
		{[]string{"monitor", "--config", file("binary", "\x7fELF\x00\x01")}, []string{"binary"}},
		{[]string{"ctl", "enable-rate-limiting", "--broker", "tcp://127.0.0.1:9"}, []string{"start the broker"}},
		{[]string{"ctl", "enable-rate-limiting", "--rate", "0"}, []string{"above 0"}},
		{[]string{"ctl", "enable-rate-limiting", "--rate", "1000000000000"}, []string{"from 1 to 100000"}},
		{[]string{"ctl", "enable-rate-limiting", "--ttl", "100ms"}, []string{"from 1 to 86400"}},
		{[]string{"ctl", "enable-rate-limiting", "--timeout", "300ms"}, []string{"no answer", "weir controller"}},
		{[]string{"ctl", "explode"}, []string{"unknown command"}},
		{[]string{"ctl", "explode", "--broker", "tcp://127.0.0.1:9"}, []string{"unknown command", "enable-rate-limiting"}},
		{[]string{"ctl", "enable_rate_limiting", "--broker", "tcp://127.0.0.1:9"}, []string{"start the broker"}}, // as it is called over MQTT
		{[]string{"ctl", "disable-rate-limiting", "192.0.2.7"}, []string{"192.0.2.7"}},
		{[]string{"ctl"}, []string{"enable-rate-limiting"}},
		{[]string{"explode"}, []string{"unknown command"}},
		{[]string{"up", "--explode"}, []string{"unknown flag"}},
		{[]string{"status", "now"}, []string{"now"}},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			cmd := s.Bank.Command(t.Context(), binary, append(row.args, "--log-level", "error")...)
			if row.args[0] == "ctl" || row.args[0] == "explode" || row.args[len(row.args)-1] == "now" {
				cmd = s.Bank.Command(t.Context(), binary, row.args...)
			}
			out, _ := cmd.CombinedOutput()
			text := string(out)
			if cmd.ProcessState.ExitCode() != 1 || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "weir: ") {
				t.Errorf("exit status %d: %s", cmd.ProcessState.ExitCode(), text)
			}
			for _, w := range row.want {
				if !strings.Contains(text, w) {
					t.Errorf("%q doesn't say %q", text, w)
				}
			}
		})
	}
}

func TestWithoutPrivilege(t *testing.T) {
	s := newSite(t)
	te.Tool(t, "setpriv")
	for _, command := range []string{"sensor", "status", "unload", "top --once"} {
		args := append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", binary}, s.args(command)...)
		cmd := s.Bank.Command(t.Context(), "setpriv", args...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "as root") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s as nobody: exit status %d: %s", command, cmd.ProcessState.ExitCode(), out)
		}
	}
}

func TestCtlTellsByItsExitStatus(t *testing.T) {
	s := newSite(t)
	s.start("up")
	if out := s.mustWeir("ctl enable-rate-limiting", "--rate", "50", "--burst", "70", "--ttl", "10m", "--reason", "drill"); !strings.HasPrefix(out, "enable_rate_limiting: success") {
		t.Errorf("enable: %q", out)
	}
	out := s.mustWeir("status")
	for _, want := range []string{"enforce", "50 SYNs per second", "burst 70", "xdp-native", "would drop"} {
		if !strings.Contains(out, want) {
			t.Errorf("weir status lacks %q:\n%s", want, out)
		}
	}
	if out := s.mustWeir("status", "--capacity"); !strings.Contains(out, "packets/s and core") || !strings.Contains(out, "drop") {
		t.Errorf("capacity: %s", out)
	}
	s.mustWeir("ctl disable-rate-limiting")
	if out := s.mustWeir("status"); !strings.Contains(out, "observe") {
		t.Errorf("after disable: %s", out)
	}
	if out, status := s.weir("ctl scale-up-servers"); status != 1 || !strings.Contains(out, "no scaler is configured") {
		t.Errorf("scale: exit status %d: %q", status, out)
	}
}

func TestConfigReloads(t *testing.T) {
	s := newSite(t)
	first := s.mustWeir("config", "--limit-rate", "7", "--monitor-calm", "9s", "--site", "zurich")
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	again := s.mustWeir("config", "--config", path)
	if values(again) != values(first) || !strings.Contains(values(again), "site: \"zurich\"") {
		t.Errorf("the configuration reads back as another:\n%s\n%s", values(first), values(again))
	}
}

// values are the lines of a configuration without comments, which tell where each value came from.
func values(yaml string) string {
	var b strings.Builder
	for line := range strings.Lines(yaml) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimRight(line, " \n"); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// TestOtherBroker runs everything against a broker that isn't ours.
func TestOtherBroker(t *testing.T) {
	s := newSite(t)
	addr := te.Mosquitto(t, s.Bank)
	s.start("up", "--broker", "tcp://"+addr, "--site", "zurich")
	o := te.Observe(t, s.Bank, addr)
	start := time.Now()
	te.Publish(t, s.Bank, addr, "<103795587>/zurich/bank_server/control/command", []byte(`{"command": "enable_rate_limiting"}`))
	o.Await(t, patience, "status", func(m te.Message) bool {
		return m.At.After(start) && m.Topic == "<103795587>/zurich/bank_server/status/rate_limiting" && strings.Contains(string(m.Payload), `"on"`)
	})
	te.Publish(t, s.Bank, addr, "<103795587>/zurich/bank_server/control/command", make([]byte, 1<<20))
	o.Await(t, patience, "failure for a megabyte", func(m te.Message) bool {
		return m.At.After(start) && strings.Contains(string(m.Payload), `"failure"`)
	})
	te.Publish(t, s.Bank, addr, "public/announcement", []byte("hey from public"))
}

func TestMonitorPrintsWhatItReceives(t *testing.T) {
	s := newSite(t)
	up := s.start("up")
	te.Publish(t, s.Bank, brokerAddr, "public/announcement", []byte("hey from public\x1b[2J"))
	up.Await(t, `Received from topic: public/announcement: hey from public\u001b[2J`, patience)
	te.Publish(t, s.Bank, brokerAddr, root+"/control/command", []byte(`{"command": "scale_up_servers"}`))
	up.Await(t, `Received control command: {"command": "scale_up_servers"}`, patience)
}
