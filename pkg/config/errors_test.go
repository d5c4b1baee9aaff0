package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// oneLine demands an error of one line that holds all of the parts.
func oneLine(t *testing.T, name string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %q", name, parts)
		return
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
		t.Errorf("%s: not one line: %v", name, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %q lacks %q", name, err, part)
		}
	}
}

func TestWrongFiles(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		parts      []string
	}{
		{"unknown key", "interface: eth0\nintreface: eth0", []string{"weir.yaml:2:", `"intreface"`, "is it interface?"}},
		{"unknown key in a section", "monitor:\n  calm: 1m\n  syn-treshold: 1", []string{":3:", "is it monitor.syn-threshold?"}},
		{"unknown section", "statistics:\n  interval: 1s", []string{":1:", "weir config"}},
		{"nothing like it", "zzzzzzzzzzzz: 1", []string{":1:", "weir config"}},
		{"merge key", "<<: {org: x}", []string{":1:", "<<"}},
		{"long unknown key", strings.Repeat("k", 1000) + ": 1", []string{":1:", "weir config"}},
		{"text for a number", "limit:\n  rate: lots", []string{":2: limit.rate", `"lots"`, "whole number"}},
		{"negative", "limit: {rate: -1}", []string{":1: limit.rate", `"-1"`}},
		{"a fraction", "limit.burst: 1.5", []string{"limit.burst", `"1.5"`}},
		{"too large", "limit.burst: 99999999999999999999", []string{"limit.burst"}},
		{"not a number", "monitor.clear-ratio: .nan", []string{"monitor.clear-ratio", ".nan"}},
		{"infinite", "monitor.clear-ratio: Inf", []string{"monitor.clear-ratio", "Inf"}},
		{"overflow", "monitor.clear-ratio: 1e999", []string{"monitor.clear-ratio", "1e999"}},
		{"time without unit", "sensor.interval: 5", []string{"sensor.interval", `"5"`, "unit"}},
		{"yes is no boolean", "allow-remote: yes", []string{"allow-remote", `"yes"`, "true or false"}},
		{"log level", "log.level: loud", []string{"log.level", `"loud"`, "debug, info, warn, error"}},
		{"broker without scheme", "broker: localhost:1883", []string{":1: broker", "tcp://"}},
		{"control character", `org: "a\tb"`, []string{":1: org", "printed"}},
		{"no value", "site:", []string{":1:", "site has no value", `""`}},
		{"a list", "org:\n- a\n- b", []string{":2:", "org: want one value (string), not a list"}},
		{"a section for a value", "org: {a: b}", []string{":1:", "org: want one value (string), not a section"}},
		{"a value for a section", "monitor: 5", []string{":1:", "monitor: want keys under it, not a single value"}},
		{"a list for a section", "monitor: [1]", []string{":1:", "monitor: want keys under it, not a list"}},
		{"a list for all", "- org: x", []string{":1:", "key: value"}},
		{"text for all", "hello", []string{":1:", "key: value"}},
		{"a list as a key", "? [a]\n: b", []string{":1:", "want a key"}},
		{"duplicate", "org: a\nsite: b\norg: c", []string{":3: org", "twice", "line 1"}},
		{"duplicate section", "log: {level: info}\nlog: {format: json}", []string{":2: log", "twice", "line 1"}},
		{"duplicate in two forms", "log: {level: info}\nlog.level: warn", []string{":2: log.level", "twice", "line 1"}},
		{"alias", "org: &a x\nsite: *a", []string{":2:", "alias"}},
		{"section alias", "limit: &a {rate: 1}\nmonitor: *a", []string{":2:", "alias"}},
		{"tag", "org: !!binary aGVsbG8=", []string{":1:", "org: leave out the tag"}},
		{"two documents", "org: a\n---\norg: b", []string{"weir.yaml:", "second document"}},
		{"tab", "log:\n\tlevel: info", []string{":2:", "spaces", "tabs"}},
		{"tab before a comment", "org: a\n\t# b", []string{":2:", "tabs"}},
		{"tab behind a space", "log:\n \tlevel: info", []string{":2:", "tabs"}},
		{"broken", "org: [a\n", []string{"weir.yaml", "not YAML"}},
		{"broken quote", "site: x\norg: 'a\n", []string{"weir.yaml", "not YAML"}},
		{"binary", "\x7fELF\x02\x01", []string{":1:", "0x7f", "text"}},
		{"binary further down", "org: a\nsite: \x00", []string{":2:", "0x00", "text"}},
		{"Latin-1", "# caf\xe9", []string{":1:", "0xe9", "UTF-8"}},
		{"UTF-16", "\xff\xfeo\x00r\x00g\x00", []string{":1:", "0xff", "UTF-8"}},
		{"1 MB", strings.Repeat("# 16 bytes long\n", 1<<16), []string{"weir.yaml", "64 KiB"}},
		{"deep", strings.Repeat("[", 60000), []string{"weir.yaml"}},
		{"deep sections", strings.Repeat("{a: ", 10000), []string{"weir.yaml"}},
	} {
		_, err := layers{yaml: c.yaml}.load(t)
		oneLine(t, c.name, err, c.parts...)
	}
}

func TestOddButFineFiles(t *testing.T) {
	for name, yaml := range map[string]string{
		"byte order mark":  "\xef\xbb\xbforg: bank",
		"Windows newlines": "org: bank\r\nmonitor:\r\n",
		"an empty section": "org: bank\nmonitor:\n#  calm: 1m",
		"anchor":           "org: &name bank",
		"document start":   "---\norg: bank\n",
		"tab in a comment": "org: bank\t# here\n",
	} {
		c, err := layers{yaml: yaml}.load(t)
		if err != nil || c.Org != "bank" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for name, yaml := range map[string]string{"newlines": "\n\n", "comments": "# nothing\n", "null": "---\n", "braces": "{}"} {
		if _, err := (layers{yaml: yaml}).load(t); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, want := range map[string]string{"0123": "0123", "true": "true", "1e3": "1e3", `""`: "", "a b": "a b", "'<1>'": "<1>"} {
		if c, err := (layers{yaml: "org: " + text}).load(t); err != nil || c.Org != want {
			t.Errorf("org %s: %q, %v", text, c.Org, err)
		}
	}
}

func TestWrongPlaces(t *testing.T) {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	missing := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(fs, missing, nil)
	oneLine(t, "missing", err, missing, "not there")
	_, err = Load(fs, t.TempDir(), nil)
	oneLine(t, "folder", err, "is a folder")
	_, err = Load(fs, "/dev/zero", nil)
	oneLine(t, "endless", err, "/dev/zero", "64 KiB")
	if os.Geteuid() != 0 {
		file := writeFile(t, "weir.yaml", "org: x")
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		_, err = Load(fs, file, nil)
		oneLine(t, "forbidden", err, file, "root")
	}
}

func TestWrongVariablesAndFlags(t *testing.T) {
	_, err := layers{env: []string{"WEIR_MONITOR_SYN_TRESHOLD=1"}}.load(t)
	oneLine(t, "unknown variable", err, "WEIR_MONITOR_SYN_TRESHOLD", "is it WEIR_MONITOR_SYN_THRESHOLD?")
	_, err = layers{env: []string{"WEIR_LIMIT_RATE=fast"}}.load(t)
	oneLine(t, "wrong variable", err, `WEIR_LIMIT_RATE "fast"`, "whole number")
	_, err = layers{env: []string{"WEIR_LIMIT_RATE="}}.load(t)
	oneLine(t, "empty variable", err, "WEIR_LIMIT_RATE", "whole number")
	_, err = layers{flags: []string{"--limit-rate=fast"}}.load(t)
	oneLine(t, "wrong flag", err, "--limit-rate", `"fast"`, "whole number")
	_, err = layers{flags: []string{"--allow-remote=maybe"}}.load(t)
	oneLine(t, "wrong switch", err, "--allow-remote", "true or false")
	_, err = layers{flags: []string{"--password=x"}}.load(t)
	oneLine(t, "no flag for secrets", err, "--password")
}
