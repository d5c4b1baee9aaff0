// Package scripts holds tests of what the scripts make.
package scripts

import (
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const (
	broker   = "127.0.0.1:1883"
	topics   = "<103795587>/bank_server/"
	patience = 30 * time.Second
)

// TestProvisionedMachines sets two bare Debian machines up as `vagrant up` does, floods one from the other by what is there, and
// commands weir as the README says.
func TestProvisionedMachines(t *testing.T) {
	te.Tool(t, "tar", "go", "curl", "mosquitto_sub", "mosquitto_pub")
	s := te.Bank(t)
	bank, attacker := boot(t, s.Bank, goCaches(t)...), boot(t, s.Attacker)
	bank.provision(t, s.Bank.IPv4)
	attacker.provision(t, s.Attacker.IPv4)
	for _, m := range []*machine{bank, attacker} {
		m.await(t)
		m.isolate(t)
	}

	if out := bank.Run(t, patience, "sh", "-c", "systemctl is-enabled weir nginx; systemctl is-active weir nginx"); out != "enabled\nenabled\nactive\nactive\n" {
		t.Errorf("services of the bank: %q", out)
	}
	if out := attacker.Run(t, patience, "curl", "-sm", "5", "http://"+s.Bank.IPv4.String()+"/"); out != "your balance\n" {
		t.Errorf("the attacker sees of the bank: %q", out)
	}
	if out := bank.Host.Run(t, "curl", "-sm", "5", "http://127.0.0.1:8080/"); !strings.Contains(out, "<title>") {
		t.Errorf("the page: %q", out)
	}
	refused := attacker.Command(t.Context(), "mosquitto_sub", "-h", s.Bank.IPv4.String(), "-t", "#", "-W", "5")
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "Connection refused") {
		t.Errorf("the attacker at the bank's broker: %v %s", err, out)
	}
	o := te.Observe(t, s.Bank, broker)
	if m := message(t, o, time.Time{}, "status/sensor", `"online"`, `"eth0"`); strings.Contains(string(m.Payload), "unknown") {
		t.Errorf("weir doesn't know its version: %s", m.Payload)
	}

	start := time.Now()
	flood := attacker.Start(t, "timeout", "-s", "INT", "60", "hping3", "-q", "-n", "-S", "-p", "80", "--flood", "--rand-source", s.Bank.IPv4.String())
	message(t, o, start, "alerts", `"SYN packet count exceeded threshold"`, `"raised"`)
	message(t, o, start, "status/rate_limiting", `"enable_rate_limiting"`, `"success"`, `"on"`)
	message(t, o, time.Now(), "metrics/network", `"enforce"`, `"challenging":true`)
	if got := te.Connects(t, s.Customer, te.ConnectOptions{Target: s.Bank.Addr(80), N: 50, Concurrency: 2, Path: "/"}); got.Failed > 0 {
		t.Errorf("a customer during the flood: %v", got)
	}
	if out := bank.Run(t, patience, "weir", "status", "--config", "/etc/weir/weir.yaml"); !strings.Contains(out, "enforce") {
		t.Errorf("status: %s", out)
	}
	flood.Stop()

	for _, command := range []string{"disable_rate_limiting", "enable_rate_limiting"} {
		at := time.Now()
		te.Publish(t, s.Bank, broker, topics+"control/command", []byte(`{"command": "`+command+`"}`))
		message(t, o, at, "status/rate_limiting", command, `"success"`)
	}

	// A change of the tree is brought in by the same script, for which the network isn't needed again.
	bank.provision(t, s.Bank.IPv4)
	bank.await(t)
	o = te.Observe(t, s.Bank, broker)
	message(t, o, time.Time{}, "status/sensor", `"online"`)
	if out := bank.Run(t, patience, "weir", "status", "--config", "/etc/weir/weir.yaml"); !strings.Contains(out, "enforce") {
		t.Errorf("the new weir hasn't adopted the limit: %s", out)
	}

	// And with another address it guards another interface, and no longer the first one.
	for _, args := range [][]string{
		{"link", "add", "eth1", "type", "veth", "peer", "name", "eth2"}, {"link", "set", "eth1", "up"}, {"addr", "add", "192.0.2.1/24", "dev", "eth1"},
	} {
		s.Bank.Run(t, "ip", args...)
	}
	bank.provision(t, netip.MustParseAddr("192.0.2.1"))
	bank.await(t)
	o = te.Observe(t, s.Bank, broker)
	message(t, o, time.Time{}, "status/sensor", `"online"`, `"eth1"`)
	if out := s.Bank.Run(t, "ip", "-d", "link", "show", "eth0"); strings.Contains(out, "prog/xdp") {
		t.Errorf("the first interface: %s", out)
	}
}

// machine is one of the Vagrantfile's.
type machine struct {
	*te.Machine
	uplink  *te.Uplink
	process *te.Process // scripts/provision
	began   time.Time
}

// boot boots a bare machine with an uplink, as hypervisors give, and the tree in /vagrant.
func boot(t *testing.T, h *te.Host, binds ...string) *machine {
	h.Run(t, "ip", "route", "del", "default")
	up := te.OpenUplink(t, h, "nat")
	return &machine{Machine: te.Boot(t, h, te.BootOptions{Binds: append(binds, tree(t)+":/vagrant")}), uplink: up}
}

func (m *machine) provision(t *testing.T, address netip.Addr) {
	m.began = time.Now()
	// The toolchain that has filled the caches.
	m.process = m.Start(t, "env", "GOTOOLCHAIN="+runtime.Version()+"+auto", "/vagrant/scripts/provision", m.Name, address.String())
}

// await waits for the script's end.
func (m *machine) await(t *testing.T) {
	if err := m.process.Wait(10 * time.Minute); err != nil {
		t.Fatalf("%s: %v\n%s", m.Name, err, m.process.Output())
	}
	t.Logf("%s in %v: %s", m.Name, time.Since(m.began), m.process.Output())
}

// isolate closes the uplink: what is sent to addresses outside the net ends at the switch.
func (m *machine) isolate(t *testing.T) {
	m.uplink.Close()
	m.Host.Run(t, "ip", "route", "add", "default", "via", "198.51.100.254")
}

// tree is a copy of this one, without what the Vagrantfile leaves out.
func tree(t *testing.T) string {
	return treeWithout(t, ".build", ".vagrant", "pkg/web/page/node_modules", "pkg/web/page/dist")
}

func treeWithout(t *testing.T, paths ...string) string {
	dir := t.TempDir()
	args := ""
	for _, path := range paths {
		args += " --exclude=./" + path
	}
	pack := exec.Command("sh", "-c", "tar -C .."+args+` -c . | tar -x -C "$0"`, dir)
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v\n%s", err, out)
	}
	return dir
}

// goCaches are the developer's: to compile all anew for another root takes minutes.
func goCaches(t *testing.T) []string {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	f := strings.Fields(string(out))
	if err != nil || len(f) != 2 {
		t.Fatalf("go env: %v %s", err, out)
	}
	return []string{f[0] + ":/root/.cache/go-build", f[1] + ":/root/go/pkg/mod"}
}

// message waits for a message after a moment with all of these texts.
func message(t *testing.T, o *te.Observer, after time.Time, topic string, texts ...string) te.Message {
	t.Helper()
	return o.Await(t, patience, topic+" "+strings.Join(texts, " "), func(m te.Message) bool {
		for _, text := range texts {
			if !strings.Contains(string(m.Payload), text) {
				return false
			}
		}
		return m.Topic == topics+topic && (m.At.After(after) || after.IsZero())
	})
}
