package config

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

const secret = "correct-horse"

func TestCredentials(t *testing.T) {
	file := writeFile(t, "password", secret+"\n")
	for _, c := range []struct {
		name   string
		layers layers
		want   Broker
	}{
		{"none", layers{yaml: "broker: tls://h"}, Broker{URL: "tls://h"}},
		{"in the address", layers{yaml: "broker: tls://u:" + secret + "@h:1/"}, Broker{URL: "tls://h:1/", Username: "u", Password: secret}},
		{"escaped", layers{yaml: "broker: tls://u:a%40b%2f@h"}, Broker{URL: "tls://h", Username: "u", Password: "a@b/"}},
		{"the address of somebody else", layers{yaml: "broker: tls://u:" + secret + "@h\nusername: v"}, Broker{URL: "tls://h", Username: "v"}},
		{"name in the address, password by itself", layers{yaml: "broker: tls://u:x@h", env: []string{"WEIR_PASSWORD=" + secret}},
			Broker{URL: "tls://h", Username: "u", Password: secret}},
		{"a file", layers{flags: []string{"--broker=tls://u@h", "--password-file", file}},
			Broker{URL: "tls://h", Username: "u", Password: secret, PasswordFile: file}},
	} {
		got := c.layers.must(t).Broker
		got.Commands, got.State = "", "" // the defaults
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestWrongPasswordFiles(t *testing.T) {
	load := func(text string) error {
		_, err := layers{flags: []string{"--password-file", writeFile(t, "password", text)}}.load(t)
		return err
	}
	oneLine(t, "empty", load(""), "one line")
	oneLine(t, "only a newline", load("\n"), "one line")
	oneLine(t, "two lines", load("a\nb\n"), "one line")
	oneLine(t, "large", load(strings.Repeat("x", 2000)), "1 KiB")
	_, err := layers{yaml: "password-file: /nowhere/password"}.load(t)
	oneLine(t, "missing", err, "password-file /nowhere/password", "not there")
	_, err = layers{yaml: "password: a\npassword-file: b"}.load(t)
	oneLine(t, "both", err, "leave one out")
}

func TestSecretsAreNotRepeated(t *testing.T) {
	for name, l := range map[string]layers{
		"password with a newline":   {env: []string{"WEIR_PASSWORD=" + secret + "\n"}},
		"password in YAML":          {yaml: `password: "` + secret + `\n"`},
		"password as a list":        {yaml: "password: [" + secret + "]"},
		"address without a scheme":  {yaml: "broker: u:" + secret + "@h:1"},
		"address with a wrong port": {yaml: "broker: tcp://u:" + secret + "@h:x"},
		"password with a slash":     {yaml: "broker: tcp://u:1/" + secret + "@h"},
		"address in a variable":     {env: []string{"WEIR_BROKER=u:" + secret + "@h"}},
	} {
		_, err := l.load(t)
		oneLine(t, name, err)
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, l := range map[string]layers{
		"password":            {yaml: "password: " + secret},
		"password's variable": {env: []string{"WEIR_PASSWORD=" + secret}},
		"address":             {yaml: "broker: tcp://u:" + secret + "@h"},
		"address of another":  {yaml: "broker: tcp://u:" + secret + "@h\nusername: v"},
	} {
		var out bytes.Buffer
		if err := Dump(&out, l.must(t)); err != nil || strings.Contains(out.String(), secret) {
			t.Errorf("%s is shown, %v", name, err)
		}
	}
}

func TestPublicPasswords(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		mode       os.FileMode
		warn       bool
	}{
		{"private", "password: x", 0o600, false},
		{"for a group", "password: x", 0o640, false},
		{"public", "password: x", 0o644, true},
		{"public address", "broker: tcp://u:x@h", 0o644, true},
		{"public name", "broker: tcp://u@h\nusername: u", 0o644, false},
		{"public empty", `password: ""`, 0o644, false},
	} {
		file := writeFile(t, "weir.yaml", c.yaml)
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		got := layers{env: []string{"WEIR_CONFIG=" + file}}.must(t).Warnings
		if (len(got) == 1) != c.warn || c.warn && (!strings.Contains(got[0], "chmod o-r") || strings.Contains(got[0], "\n")) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
