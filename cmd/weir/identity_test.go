package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/trust"
)

func TestEndsSoon(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		15 * 24 * time.Hour: "", 13*24*time.Hour + time.Hour: "sensor-k3v2q2xd ends in 13 days: weir keys rotate sensor-k3v2q2xd", time.Hour: "ends in 0 days", -time.Hour: "ended on",
	} {
		got := endsSoon(trust.Identity{Name: "sensor-k3v2q2xd", NotBefore: now.AddDate(0, 0, -90), NotAfter: now.Add(left)}, now)
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%v left: %q", left, got)
		}
	}
}

// TestUpOnAllAddresses: the components of weir up know its own broker by its name, though they reach it by another.
func TestUpOnAllAddresses(t *testing.T) {
	s := newGuardedSite(t)
	s.keysDo("issue", "broker", "-", "--host", "broker.bank.example", "--out", filepath.Join(s.dir, "public"))
	s.issue("web", "operator", "-")
	s.spread()
	dir := filepath.Join(s.dir, "all")
	must(t, os.Mkdir(dir, 0o700))
	for from, to := range map[string]string{"public": "broker", "sensor": "sensor", "controller": "controller", "monitor": "monitor", "web": "web"} {
		must(t, os.Rename(filepath.Join(s.dir, from), filepath.Join(dir, to)))
	}
	up := s.start("up", "--identity", dir, "--state", filepath.Join(s.dir, "state"), "--listen", "0.0.0.0:8883", "--listen-ws", "")
	for _, component := range []string{"sensor", "controller", "monitor", "web"} {
		up.Await(t, `msg="connected to the broker" component=`+component, patience)
	}
}
