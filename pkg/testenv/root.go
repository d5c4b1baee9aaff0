// Package testenv is what tests of the whole program stand on: hosts in network namespaces of their own, frames, floods,
// innocent clients and MQTT clients that aren't ours. Only tests import it.
//
// What a test makes is gone when it ends. What a killed test run left behind goes when the next one makes a host.
package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Root skips a test that isn't run by root; in CI it fails it, since nobody would see the skip.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root")
	}
}

// Tool skips a test that lacks a command; in CI it fails it.
func Tool(t testing.TB, names ...string) {
	t.Helper()
	var absent []string
	for _, name := range names {
		if _, err := lookPath(name); err != nil {
			absent = append(absent, name)
		}
	}
	if absent != nil {
		missing(t, strings.Join(absent, ", "))
	}
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s, and CI must not skip it: run scripts/test", what)
	}
	t.Skipf("needs %s: sudo scripts/test has all", what)
}

// lookPath finds commands of administrators too, whose folders aren't in everybody's PATH.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(dir + name)
	}
	return path, err
}
