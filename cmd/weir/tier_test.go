package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	"github.com/weir-sensor/weir/pkg/doctor"
	"github.com/weir-sensor/weir/pkg/policer"
	"github.com/weir-sensor/weir/pkg/tc"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// needPolice skips where the kernel has no police action, as scripts/vm's has.
func (s *site) needPolice() {
	s.t.Helper()
	s.Bank.Do(s.t, func() {
		if err := tc.SetPolice(tc.Police{Index: 1}); err != nil {
			if os.Getenv("VM") != "" {
				s.t.Fatal(err)
			}
			s.t.Skipf("%v: see scripts/vm", err)
		}
		if err := tc.RemovePolice(1); err != nil {
			s.t.Fatal(err)
		}
	})
}

// From the flood to the drops and back, whatever there is to attach to.
func TestTiersEndToEnd(t *testing.T) {
	for _, x := range []struct {
		tier, limiter string
		spares        bool // customers, since sources are told apart
	}{
		{"xdp-generic", "auto", true}, {"tc-bpf", "auto", true}, {"xdp-native", "tc", true}, {"tc-police", "auto", false},
	} {
		t.Run(x.tier+" "+x.limiter, func(t *testing.T) {
			if os.Getenv("VM") != "" && x.limiter != "tc" && x.tier != "tc-police" {
				t.Skip("tried where it takes less time")
			}
			s := newSite(t)
			if x.limiter == "tc" || x.tier == "tc-police" {
				s.needPolice()
			}
			s.serve()
			flags := []string{"--monitor-calm", "6s", "--sensor-tier", x.tier, "--limiter", x.limiter}
			byTC := x.limiter == "tc" || x.tier == "tc-police"
			if x.tier == "tc-police" { // what it lets through of all together: an emulated machine's flood is slow
				flags = append(flags, "--limit-unverified-rate", "100", "--limit-unverified-burst", "100")
			}
			up := s.start("up", flags...)
			o := te.Observe(t, s.Bank, brokerAddr)
			o.Await(t, patience, "presence", is("status/sensor", `"online"`, `"`+x.tier+`"`))
			start := time.Now()
			f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 4000})
			o.Await(t, patience, "early report", since(start, is("metrics/network", `"early":true`, `"tier":"`+x.tier+`"`)))
			o.Await(t, patience, "alert", since(start, is("alerts", `"SYN packet count exceeded threshold"`, `"raised"`)))
			m := o.Await(t, patience, "status", since(start, is("status/rate_limiting", `"enable_rate_limiting"`, `"success"`, `"on"`)))
			if strings.Contains(string(m.Payload), "by tc") != byTC {
				t.Errorf("status %s", m.Payload)
			}
			if byTC && x.spares {
				time.Sleep(2 * time.Second) // who sends too much is found out second by second
			}
			if x.spares {
				if got := te.Connects(t, s.Customer, te.ConnectOptions{Target: s.Bank.Addr(80), N: 50, Concurrency: 4, Path: "/"}); got.Failed > 0 {
					t.Errorf("a customer during the flood: %v", got)
				}
			}
			m = o.Await(t, patience, "metrics with drops of most SYNs", since(time.Now(), func(m te.Message) bool {
				if !is("metrics/network", `"enforce"`, `"drops":{"`)(m) {
					return false
				}
				n := decode[wire.Network](t, m)
				return float64(n.Drops["source_rate"]+n.Drops["total_rate"]) >= 0.6*float64(n.SYNPacketCount)
			}))
			n := decode[wire.Network](t, m)
			if want := map[bool]string{true: "tc-police"}[byTC && x.tier != "tc-police"]; n.Limiter != want && x.tier != "tc-police" {
				t.Errorf("limiter %q", n.Limiter)
			}
			var shown status
			if err := json.Unmarshal([]byte(s.mustWeir("status", "--json")), &shown); err != nil || shown.Mode != "enforce" || shown.Tier != x.tier {
				t.Errorf("weir status: %+v, %v", shown, err)
			}
			f.Stop()
			end := time.Now()
			o.Await(t, 40*time.Second, "disable", since(end, is("control/command", `"disable_rate_limiting"`)))
			o.Await(t, patience, "status off", since(end, is("status/rate_limiting", `"disable_rate_limiting"`, `"success"`, `"off"`)))
			up.Stop()
			if out := s.mustWeir("unload"); out != "unloaded from eth0\n" {
				t.Errorf("unload says %q", out)
			}
			s.nothingIsLeft()
			if left := s.filters(); len(left) > 0 {
				t.Errorf("%+v", left)
			}
		})
	}
}

// Beside somebody else's XDP program weir takes tc's, and leaves the other where it is.
func TestFallbackBesideAnotherProgram(t *testing.T) {
	s := newSite(t)
	var other *flood.Sink
	s.Bank.Do(t, func() {
		var err error
		other, err = flood.NewSink(s.Bank.Interface, true)
		must(t, err)
	})
	shows := func() string { return s.Bank.Run(t, "ip", "-d", "link", "show", "dev", s.Bank.Interface) }
	before := shows()
	if !strings.Contains(before, "prog/xdp") {
		t.Fatalf("no XDP program: %s", before)
	}
	if found, status := s.examine(); status != 0 || found["tier"].Level != doctor.Warning || !strings.Contains(found["tier"].Is, "another XDP program does") {
		t.Errorf("status %d: %+v", status, found["tier"])
	}
	s.start("up")
	o := te.Observe(t, s.Bank, brokerAddr)
	o.Await(t, patience, "presence", is("status/sensor", `"online"`, `"tier":"tc-bpf"`))
	f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 2000})
	o.Await(t, patience, "drops", is("metrics/network", `"tier":"tc-bpf"`, `"enforce"`, `"drops":{"`))
	f.Stop()
	s.mustWeir("unload")
	if now := shows(); now != before {
		t.Errorf("%s\nbefore:\n%s", now, before)
	}
	s.Bank.Do(t, func() { must(t, other.Close()) })
}

// Where the kernel takes no BPF program tc counts, or if it can't either the host's metrics are told.
func TestFallbackWithoutBPF(t *testing.T) {
	s := newSite(t)
	want := "tier=" + tierPolice
	if policer.Probe().Police != nil {
		want = "tier=" + tierNone
	}
	s.Bank.Faults(t, func(c te.Call) bool { return c.Number == unix.SYS_BPF }, func() {
		p := s.Bank.Start(t, binary, s.args("sensor")...)
		te.Eventually(t, patience, want, func() bool { return strings.Contains(p.Output(), want) && strings.Contains(p.Output(), "msg=ready") })
		if !strings.Contains(p.Output(), "no BPF program can be attached") {
			t.Errorf("it doesn't say why: %s", p.Output())
		}
		p.Stop()
	})
	s.weir("unload")
	if left := s.filters(); len(left) > 0 {
		t.Errorf("%+v", left)
	}
}

// Without anything that counts packets, the rest is told all the same.
func TestTierNone(t *testing.T) {
	s := newSite(t)
	s.start("up", "--sensor-tier", "none")
	o := te.Observe(t, s.Bank, brokerAddr)
	o.Await(t, patience, "presence", is("status/sensor", `"online"`, `"tier":"none"`))
	o.Await(t, patience, "metrics", is("metrics/cpu", `"cpu_usage"`))
	o.Await(t, patience, "network metrics", is("metrics/network", `"active_tcp_connections"`, `"tier":"none"`))
	if got := s.order(o, `{"command": "enable_rate_limiting"}`, `"enable_rate_limiting"`); got.Status != wire.Failure {
		t.Errorf("%+v", got)
	}
}

// filters are tc's on the bank's interface.
func (s *site) filters() (all []tc.Filter) {
	s.t.Helper()
	s.Bank.Do(s.t, func() {
		i, err := net.InterfaceByName(s.Bank.Interface)
		if err == nil {
			all, err = tc.Filters(i.Index)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	})
	return all
}

// tc's limit ends with its lease though all of weir was killed. The next start within it knows whose it is.
func TestPoliceEndsWhenWeirIsKilled(t *testing.T) {
	s := newSite(t)
	s.needPolice()
	up := s.start("up", "--limiter", "tc")
	o := te.Observe(t, s.Bank, brokerAddr)
	start := time.Now()
	s.order(o, `{"command": "enable_rate_limiting", "ttl_seconds": 4}`, `"success"`)
	up.Kill()
	if len(s.filters()) == 0 {
		t.Error("tc's limit ended at once")
	}
	te.Eventually(t, 15*time.Second, "end of tc's limit", func() bool { return len(s.filters()) == 0 })
	if d := time.Since(start); d < 4*time.Second {
		t.Errorf("it ended after %v", d)
	}

	up = s.start("up", "--limiter", "tc")
	s.order(te.Observe(t, s.Bank, brokerAddr), `{"command":"enable_rate_limiting","origin":"alice","rate":1,"burst":2000,"ttl_seconds":600}`, `"success"`, `"alice"`)
	up.Kill()
	s.start("up", "--limiter", "tc")
	te.Observe(t, s.Bank, brokerAddr).Await(t, patience, "owner", is("status/rate_limiting", `"on"`, `"owner":"alice","fixed_end":true`))
}

// Who kills the guard as well leaves a limit that the doctor finds and the next start ends; one that is asked to end ends it first.
func TestPoliceWithoutAGuard(t *testing.T) {
	s := newSite(t)
	s.needPolice()
	s.start("broker")
	o := te.Observe(t, s.Bank, brokerAddr)
	limited := func(ttl string) *te.Process {
		t.Helper()
		c := s.start("controller", "--broker", "tcp://"+brokerAddr, "--limiter", "tc")
		s.order(o, `{"command": "enable_rate_limiting", "ttl_seconds": `+ttl+`}`, `"enable_rate_limiting"`, `"success"`)
		te.Eventually(t, patience, "one guard", func() bool { return len(s.guards()) == 1 })
		if len(s.filters()) == 0 {
			t.Fatal("tc doesn't limit")
		}
		return c
	}
	c := limited("3")
	must(t, syscall.Kill(s.guards()[0], syscall.SIGKILL))
	c.Kill()
	time.Sleep(3 * time.Second) // the lease
	found, status := s.examine()
	if f := found["lease"]; status != 1 || f.Level != doctor.Bad || !strings.Contains(f.Mend, "weir unload") || len(s.filters()) == 0 {
		t.Errorf("status %d: %+v, %v", status, f, s.filters())
	}
	c = s.start("controller", "--broker", "tcp://"+brokerAddr, "--limiter", "tc")
	te.Eventually(t, patience, "end of tc's limit by the next start", func() bool { return len(s.filters()) == 0 })
	c.Stop()

	limited("600").Kill()
	lock := leaseLock(s.guards()[0])
	must(t, syscall.Kill(s.guards()[0], syscall.SIGTERM))
	te.Eventually(t, patience, "end of tc's limit by its guard", func() bool { return len(s.filters()) == 0 })

	// What keeps a guard from its work is told by who started it.
	must(t, os.Link(lock, lock+".too"))
	t.Cleanup(func() { _ = os.Remove(lock + ".too") })
	c = s.start("controller", "--broker", "tcp://"+brokerAddr, "--limiter", "tc")
	s.order(o, `{"command": "enable_rate_limiting", "ttl_seconds": 600}`, `"enable_rate_limiting"`, `"success"`)
	c.Await(t, "weir: "+lock+" isn't a lock of weir's: remove it", patience)
	must(t, os.Remove(lock+".too"))
	s.order(o, `{"command": "enable_rate_limiting", "ttl_seconds": 600}`, `"enable_rate_limiting"`, `"success"`)
	te.Eventually(t, patience, "a guard that can work", func() bool { return len(s.guards()) == 1 })
	s.order(o, `{"command": "disable_rate_limiting"}`, `"disable_rate_limiting"`, `"success"`)
	te.Eventually(t, patience, "end of the guard with the limit", func() bool { return len(s.guards()) == 0 })
}

// guards are the processes in the bank that end tc's limit, once they hold the lock of their kind: before, they don't hear signals yet.
func (s *site) guards() (pids []int) {
	s.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(s.t, err)
	here := ""
	s.Bank.Do(s.t, func() { here, err = os.Readlink("/proc/thread-self/ns/net") })
	must(s.t, err)
	for _, file := range all {
		line, _ := os.ReadFile(file) // it may be gone
		ns, _ := os.Readlink(filepath.Join(filepath.Dir(file), "ns/net"))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && ns == here && strings.Contains(string(line), "\x00lease-guard\x00") && leaseLock(pid) != "" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// leaseLock is the file by which a guard is its interface's only one, once it holds it.
func leaseLock(pid int) string {
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is fine
	for _, fd := range open {
		if file, err := os.Readlink(fd); err == nil && strings.HasPrefix(filepath.Base(file), "lease-") {
			return file
		}
	}
	return ""
}

// The other actuator takes over under a flood: what comes is counted on, and hardly more comes through.
func TestActuatorsTakeOver(t *testing.T) {
	s := newSite(t)
	s.needPolice()
	s.start("broker")
	s.start("sensor", "--broker", "tcp://"+brokerAddr)
	o := te.Observe(t, s.Bank, brokerAddr)
	var controller *te.Process
	choose := func(limiter string) {
		if controller != nil {
			controller.Signal(syscall.SIGTERM)
			if err := controller.Wait(patience); err != nil {
				t.Fatal(err)
			}
		}
		controller = s.start("controller", "--broker", "tcp://"+brokerAddr, "--limiter", limiter, "--limit-challenge", "never")
	}
	choose("xdp")
	s.order(o, `{"command": "enable_rate_limiting", "rate": 10, "burst": 10, "ttl_seconds": 600}`, `"success"`)
	r := s.reader()
	before, _ := counters(t, r)
	f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 2000})
	for i, limiter := range []string{"tc", "xdp", "tc"} {
		at := time.Now()
		choose(limiter)
		o.Await(t, patience, "the limit being taken over", since(at, is("status/rate_limiting", `"on"`)))
		want := map[string]string{"tc": `"limiter":"tc-police"`, "xdp": `"enforce"`}[limiter]
		m := o.Await(t, patience, "metrics by "+limiter, since(time.Now().Add(2*time.Second), is("metrics/network", want)))
		if n := decode[wire.Network](t, m); n.Mode != wire.ModeEnforce || (n.Limiter == "tc-police") != (limiter == "tc") {
			t.Errorf("%d, %s: %s", i, limiter, m.Payload)
		}
	}
	sent := f.Stop()
	time.Sleep(100 * time.Millisecond)
	after, _ := counters(t, r)
	if after-before < sent { // hping3 may send a few more than it says when it ends
		t.Errorf("%d SYNs were counted of %d", after-before, sent)
	}
	var shown status
	if err := json.Unmarshal([]byte(s.mustWeir("status", "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	for _, c := range shown.Classes {
		if passed := c.Passed + c.WouldDrop; c.Class == "syn" && (passed > sent/3 || c.Dropped+passed < sent) { // tc takes seconds to find out whom to hold
			t.Errorf("of %d SYNs %+v", sent, c)
		}
	}
}
