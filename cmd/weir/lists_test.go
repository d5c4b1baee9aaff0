package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// reaches tells whether the bank answers a ping from a host.
func (s *site) reaches(from *te.Host, to netip.Addr) bool {
	s.t.Helper()
	return from.Command(s.t.Context(), "ping", "-c", "1", "-W", "0.3", "-n", to.String()).Run() == nil
}

func (s *site) expectReach(what string, from *te.Host, want bool) {
	s.t.Helper()
	for _, to := range []netip.Addr{s.Bank.IPv4, s.Bank.IPv6} {
		// A change takes a jiffy.
		te.Eventually(s.t, patience, fmt.Sprintf("%s: %s reaching %v: %v", what, from.Name, to, want), func() bool {
			return s.reaches(from, to) == want
		})
	}
}

func TestListsByCommandAndConfiguration(t *testing.T) {
	te.Tool(t, "ping")
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "block")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# nobody yet\n")
	p := s.start("up", "--lists-block-file", file, "--listen-ws", "")
	o := te.Observe(t, s.Bank, brokerAddr)
	s.expectReach("no lists", s.Attacker, true)

	attacker := s.Attacker.IPv4.String()
	if out := s.mustWeir("ctl block", attacker, "--ttl", "10m", "--reason", "scans"); !strings.HasPrefix(out, "block_source: success: "+attacker+" is blocked for 10m") {
		t.Errorf("ctl says %s", out)
	}
	st := s.order(o, `{"command":"block_source","source":"`+s.Attacker.IPv6.String()+`","ttl_seconds":600,"origin":"bob"}`, `"success"`, "block_source")
	if st.Origin != "bob" || st.State != "off" {
		t.Errorf("status %+v", st)
	}
	s.expectReach("blocked", s.Attacker, false)
	s.expectReach("blocked", s.Customer, true)
	o.Await(t, patience, "drops in the metrics", is("metrics/network", `"drops":{"blocked":`))

	var shown status
	if err := json.Unmarshal([]byte(s.mustWeir("status", "--lists", "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	l := shown.Lists
	if l.Block != 2 || l.Allow != 0 || l.Exempt != 0 || l.HeldSeconds < 500 || len(l.Entries) != 2 ||
		l.Entries[0].Source != attacker+"/32" || l.Entries[0].Reason != "scans" || l.Entries[0].Origin != "ctl" || l.Entries[1].Origin != "bob" {
		t.Errorf("status shows %+v", l)
	}
	if out := s.mustWeir("status", "--lists"); !strings.Contains(out, "2 blocked, 0 allowed") || !strings.Contains(out, attacker+"/32") {
		t.Errorf("status shows %s", out)
	}

	for _, verb := range []string{"unblock", "block", "allow"} {
		if out, code := s.weir("ctl "+verb, "10.0.0.1/8"); code != 1 || !strings.Contains(out, "write 10.0.0.0/8") {
			t.Errorf("ctl %s of a slip: %d, %s", verb, code, out)
		}
	}
	if out, code := s.weir("ctl block", s.Bank.IPv4.String()); code != 1 || !strings.Contains(out, "own address") {
		t.Errorf("ctl block of the bank itself: %d, %s", code, out)
	}
	s.mustWeir("ctl unblock", attacker)
	s.mustWeir("ctl unblock", s.Attacker.IPv6.String())
	s.expectReach("unblocked", s.Attacker, true)

	write(attacker + "\n" + s.Attacker.IPv6.String() + " # both\n")
	p.Signal(syscall.SIGHUP)
	p.Await(t, "lists read again", patience)
	s.expectReach("the file", s.Attacker, false)
	write("198.51.100.3/24\n")
	p.Signal(syscall.SIGHUP)
	p.Await(t, file+`:1: \"198.51.100.3/24\": has bits`, patience)
	s.expectReach("a wrong file changes nothing", s.Attacker, false)
	s.mustWeir("ctl allow", attacker)
	s.mustWeir("ctl allow", s.Attacker.IPv6.String())
	s.expectReach("allowed by command", s.Attacker, true)
	s.mustWeir("unload")
	s.nothingIsLeft()
}

func TestWrongListsAreRefusedAtTheStart(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "allow")
	if err := os.WriteFile(file, []byte("10.0.0.1\n\nten\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--lists-allow-file", file}, `lists.allow: ` + file + `:3: "ten": give an address`},
		{[]string{"--lists-block-file", file + "x"}, "x is not there"},
		{[]string{"--lists-block", "10.0.0.0/33"}, `"10.0.0.0/33": give an address`},
		{[]string{"--lists-allow-ceiling", "0"}, "ceiling 0: give 1 to"},
	} {
		out, code := s.weir("controller", row.flags...)
		if code != 1 || !strings.Contains(out, row.want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%v: %d, %s", row.flags, code, out)
		}
	}
}

// The time from the command to the first drop, and what a killed process leaves: entries that end by themselves.
func TestBlocksOutliveTheControllerAndEnd(t *testing.T) {
	te.Tool(t, "ping")
	s := newSite(t)
	broker := s.start("broker", "--listen-ws", "")
	sensor := s.start("sensor")
	customer := netip.PrefixFrom(s.Customer.IPv4, 32).String() + "," + netip.PrefixFrom(s.Customer.IPv6, 128).String()
	controller := s.start("controller", "--lists-block", customer, "--limit-lease", "5s")
	r := s.reader()
	blocked := func() uint64 {
		c, err := r.Counters()
		if err != nil {
			t.Fatal(err)
		}
		return c.Total(datapath.VerdictDrop, datapath.ReasonBlocked).Packets
	}
	flood := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 2000})
	start := time.Now()
	te.Publish(t, s.Bank, brokerAddr, root+"/control/command", []byte(`{"command":"block_source","source":"`+s.Attacker.IPv4.String()+`","ttl_seconds":8}`))
	published := time.Now()
	for blocked() == 0 && time.Since(start) < patience {
		time.Sleep(time.Millisecond)
	}
	t.Logf("first drop %v after the publisher ended, which took %v", time.Since(published), published.Sub(start))
	te.Publish(t, s.Bank, brokerAddr, root+"/control/command", []byte(`{"command":"block_source","source":"`+s.Attacker.IPv6.String()+`","ttl_seconds":8}`))
	s.expectReach("by command", s.Attacker, false)
	s.expectReach("by configuration", s.Customer, false)
	for _, p := range []*te.Process{controller, sensor, broker} {
		p.Kill()
	}
	rising(t, "drops with everything killed", blocked)
	s.expectReach("nobody holds it", s.Customer, true)
	s.expectReach("its end", s.Attacker, true)
	flood.Stop()
	s.mustWeir("unload")
	s.nothingIsLeft()
}

// Who is logged in by SSH is exempt, can't be blocked by command, and stays in through a limit that drops others.
func TestAdministratorIsExempt(t *testing.T) {
	s := newSite(t)
	sshd := te.StartSSHD(t, s.Bank, 2222)
	s.start("up", "--listen-ws", "", "--limit-rate", "1", "--limit-burst", "1")
	login := sshd.Login(s.Customer, "root", s.Bank.IPv4, "while echo alive; do sleep 0.1; done")
	login.Await(t, "alive", patience)
	lists := func() listsStatus {
		var shown status
		if err := json.Unmarshal([]byte(s.mustWeir("status", "--lists", "--json")), &shown); err != nil {
			t.Fatal(err)
		}
		return shown.Lists
	}
	te.Eventually(t, patience, "an exemption", func() bool { return lists().Exempt == 1 })
	e := lists().Entries[0]
	if e.Source != s.Customer.IPv4.String()+"/32" || e.List != "exempt" || e.SecondsLeft > 600 || e.SecondsLeft < 500 {
		t.Errorf("entry %+v", e)
	}
	if out, code := s.weir("ctl block", s.Customer.IPv4.String()); code != 1 || !strings.Contains(out, "logged in by SSH") {
		t.Errorf("ctl block of an administrator: %d, %s", code, out)
	}
	s.mustWeir("ctl enable-rate-limiting")
	// SYNs far beyond the limit: from the administrator all pass, from others not.
	syns := func(h *te.Host) [][]byte {
		f := te.NewSYN(netip.AddrPortFrom(h.IPv4, 999), s.Bank.Addr(80))
		f.SrcMAC, f.DstMAC = h.MAC, s.Bank.MAC
		return slices.Repeat([][]byte{f.Bytes()}, 200)
	}
	time.Sleep(50 * time.Millisecond)
	r := s.reader()
	_, before := counters(t, r)
	te.SendFrames(t, s.Customer, s.Customer.Interface, syns(s.Customer))
	time.Sleep(200 * time.Millisecond)
	if _, after := counters(t, r); after != before {
		t.Errorf("%d SYNs of the administrator were dropped", after-before)
	}
	te.SendFrames(t, s.Attacker, s.Attacker.Interface, syns(s.Attacker))
	te.Eventually(t, patience, "drops of others", func() bool { _, after := counters(t, r); return after > before+100 })
}
