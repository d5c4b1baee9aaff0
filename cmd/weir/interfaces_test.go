package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

func (s *site) statuses(flags ...string) []status {
	s.t.Helper()
	var all []status
	for line := range strings.Lines(s.mustWeir("status", append(flags, "--json")...)) {
		var x status
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

func TestSeveralInterfaces(t *testing.T) {
	s := newSite(t)
	te.Cable(t, s.Bank, "eth1", s.Attacker, "eth1")
	s.Bank.Run(t, "ip", "addr", "add", "203.0.113.1/24", "dev", "eth1")
	s.Attacker.Run(t, "ip", "addr", "add", "203.0.113.3/24", "dev", "eth1")
	both := []string{"--interface", "eth1"} // beside eth0

	if out, status := s.weir("sensor", "--interface", "eth9"); status == 0 || !strings.Contains(out, `"eth9"`) || strings.Count(out, "\n") > 2 {
		t.Errorf("an interface that isn't there: exit status %d: %s", status, out)
	}
	s.nothingIsLeft()
	if out, status := s.weir("sensor", "--interface", "eth0"); status == 0 || !strings.Contains(out, "twice") {
		t.Errorf("an interface that is named twice: exit status %d: %s", status, out)
	}

	up := s.start("up", both...)
	o := te.Observe(t, s.Bank, brokerAddr)
	te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: netip.MustParseAddrPort("203.0.113.1:80")})
	m := o.Await(t, patience, "alert on eth1's flood", func(m te.Message) bool { return strings.HasSuffix(m.Topic, "/alerts") })
	if !strings.Contains(string(m.Payload), "SYN packet count") {
		t.Errorf("alert %s", m.Payload)
	}
	m = o.Await(t, patience, "network metrics under limit", func(m te.Message) bool {
		n, err := wire.DecodeNetwork([]byte(m.Payload))
		return strings.HasSuffix(m.Topic, "/metrics/network") && err == nil && n.Mode == wire.ModeEnforce && n.Drops["source_rate"] > 0
	})
	n, err := wire.DecodeNetwork([]byte(m.Payload))
	if err != nil || n.Interface != "eth0,eth1" || len(n.TopSources) == 0 || n.TopSources[0].Source != "203.0.113.3" {
		t.Errorf("metrics %s, %v", m.Payload, err)
	}
	all := s.statuses(both...)
	if len(all) != 2 || all[0].Mode != "enforce" || all[1].Mode != "enforce" || all[1].Reasons["source_rate"].Dropped == 0 ||
		all[0].Reasons["source_rate"].Dropped != 0 {
		t.Errorf("%+v", all)
	}
	s.mustWeir("ctl block", "203.0.113.3", "--broker", "tcp://"+brokerAddr)
	te.Eventually(t, patience, "blocked on both", func() bool {
		all := s.statuses(both...)
		return all[0].Lists.Block == 1 && all[1].Lists.Block == 1 && all[1].Reasons["blocked"].Dropped > 0
	})
	s.Bank.Run(t, "ip", "link", "del", "eth1")
	up.Await(t, "one interface less is guarded", patience)
	o.Await(t, patience, "metrics of the other", func(m te.Message) bool {
		n, err := wire.DecodeNetwork([]byte(m.Payload))
		return strings.HasSuffix(m.Topic, "/metrics/network") && err == nil && n.Rates["syn"].PacketsPerSecond == 0
	})
	if out := s.mustWeir("unload"); out != "unloaded from eth0\n" {
		t.Errorf("unload says %q", out)
	}
	s.mustWeir("unload --all") // eth1's pins
	s.nothingIsLeft()
}

// TestSourcesAreCommonToInterfaces: who is over the limit on one interface is over it on the other.
func TestSourcesAreCommonToInterfaces(t *testing.T) {
	s := newSite(t)
	te.Cable(t, s.Bank, "eth1", s.Attacker, "eth1")
	s.start("sensor", "--interface", "eth1")
	s.Bank.Do(t, func() {
		for _, name := range []string{"eth0", "eth1"} {
			if err := datapath.NewSwitch(s.bpffs, name).Enable(datapath.Limit{Rate: 1, Burst: 10}, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	})
	time.Sleep(20 * time.Millisecond)
	s.Bank.Run(t, "ip", "addr", "add", "203.0.113.1/24", "dev", "eth1")
	s.Attacker.Run(t, "ip", "addr", "add", "203.0.113.3/24", "dev", "eth1")
	for _, to := range []string{"198.51.100.1", "203.0.113.1"} {
		// It fails for want of replies.
		_ = s.Attacker.Command(t.Context(), "hping3", "-S", "-q", "-n", "-p", "80", "-c", "10", "-i", "u2000", "-a", "198.51.100.3", to).Run()
	}
	var dropped uint64
	for _, x := range s.statuses("--interface", "eth1") {
		dropped += x.Reasons["source_rate"].Dropped
	}
	if dropped < 9 || dropped > 10 {
		t.Errorf("%d of 20 SYNs were dropped with a burst of 10", dropped)
	}
}
