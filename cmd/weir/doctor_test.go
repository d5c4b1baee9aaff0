package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/doctor"
)

// examine runs weir doctor, and gives the finding of each check that is worst.
func (s *site) examine(flags ...string) (worst map[string]doctor.Finding, status int) {
	s.t.Helper()
	out, status := s.weir("doctor --json", append([]string{"--bpffs", s.bpffs, "--interface", s.Bank.Interface}, flags...)...)
	worst = map[string]doctor.Finding{}
	for line := range strings.Lines(out) {
		var f doctor.Finding
		if strings.HasPrefix(line, "weir: doctor:") {
			continue
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		if was, there := worst[f.Check]; !there || was.Level == doctor.OK {
			worst[f.Check] = f
		}
	}
	return worst, status
}

func TestDoctor(t *testing.T) {
	s := newGuardedSite(t)
	s.Bank.Start(t, "python3", "-m", "http.server", "--bind", "0.0.0.0", "80").Await(t, "", patience)
	levels := func(about string, got map[string]doctor.Finding, want map[string]doctor.Level) {
		t.Helper()
		for check, level := range want {
			if got[check].Level != level {
				t.Errorf("%s: %s: %+v, want %s", about, check, got[check], level)
			}
		}
	}
	before, status := s.examine()
	levels("before", before, map[string]doctor.Level{"broker": doctor.Warning, "tier": doctor.OK, "datapath": doctor.OK, "own cookies": doctor.OK, "handshakes": doctor.OK})
	if status != 0 || !strings.Contains(before["tier"].Is, "doesn't hold it") || !strings.Contains(before["broker"].Is, "connection refused") {
		t.Errorf("status %d: %+v, %+v", status, before["tier"], before["broker"])
	}
	if tier := s.tierOf(); tier != "" {
		t.Errorf("it has attached %s", tier)
	}

	s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", guardedAddr)
	s.start("sensor", s.as("sensor")...)
	running, status := s.examine("--config", filepath.Join(s.dir, "controller", "weir.yaml"))
	levels("running", running, map[string]doctor.Level{"broker": doctor.OK, "tier": doctor.OK, "identity": doctor.Warning, "datapath": doctor.OK, "xdp-generic": doctor.OK, "tc-bpf": doctor.OK})
	if status != 0 || !strings.Contains(running["broker"].Is, "its certificate is good until 2") || running["tier"].Is != "weir holds it by xdp-native" || !strings.Contains(running["identity"].Is, "ends in 9 days") {
		t.Errorf("status %d: %+v, %+v", status, running["tier"], running["identity"])
	}
	whole, status := s.examine("--identity", s.dir, "--broker", s.url)
	levels("all of a site's identities", whole, map[string]doctor.Level{"identity": doctor.Warning, "broker": doctor.OK})
	if status != 0 {
		t.Errorf("status %d", status)
	}
	s.keysDo("revoke", s.name("viewer"))
	s.spread()
	revoked, _ := s.examine("--config", filepath.Join(s.dir, "viewer", "weir.yaml"))
	levels("revoked", revoked, map[string]doctor.Level{"identity": doctor.Warning})

	missing, status := s.examine("--interface", "eth9")
	levels("no such interface", missing, map[string]doctor.Level{"nic": doctor.Bad})
	if status != 1 {
		t.Errorf("status %d", status)
	}
	out, err := s.Bank.Command(t.Context(), "setpriv", "--reuid=65534", "--clear-groups", binary, "doctor", "--interface", s.Bank.Interface).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CAP_BPF is missing") || !strings.Contains(string(out), "keep weir from protecting this host") {
		t.Errorf("as nobody: %v: %s", err, out)
	}
}

// tierOf is how weir holds the bank's interface.
func (s *site) tierOf() (tier string) {
	s.t.Helper()
	var err error
	s.Bank.Do(s.t, func() { tier, err = datapath.Tier(s.bpffs, s.Bank.Interface) })
	if err != nil {
		s.t.Fatal(err)
	}
	return tier
}
