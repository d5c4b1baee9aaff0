package packaging

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/testenv"
)

// anotherForm has pins that the next version couldn't take over: installing it says so, and changes nothing.
func (s server) anotherForm(t *testing.T, version string) {
	s.t = t
	s.sh("weir ctl enable-rate-limiting")
	const state = "systemctl show -P MainPID weir; weir version; weir status | grep ^mode | cut -d: -f1; dpkg-query -W weir; " + program
	was := s.sh(state)
	s.sh("mkdir -p /sys/fs/bpf/weir/v1/1-1")
	out, err := s.Command(t.Context(), "sh", "-c", "DEBIAN_FRONTEND=noninteractive apt-get install -y /packages/"+version+"/*.deb 2>&1").Output()
	if err == nil || !strings.Contains(string(out), "/sys/fs/bpf/weir/v1/1-1, whose form is 1 and not ") || !strings.Contains(string(out), "weir unload --all") {
		t.Errorf("%v: %s", err, out)
	}
	if is := s.sh(state); is != was {
		t.Errorf("before:\n%s\nafter:\n%s", was, is)
	}
	s.sh("weir ctl disable-rate-limiting")
	s.sh("weir unload --all && DEBIAN_FRONTEND=noninteractive apt-get install -y --reinstall /packages/1.0.0/*.deb") // what it advises
	s.active("weir.service")
	s.says("xdp-native", tier)
}

// upgrade installs the next version while a flood is held back: the kernel sees no more of it than the limit lets through.
func (s server) upgrade(t *testing.T, net *testenv.BankNet, version string) {
	s.t = t
	const rate, burst = 10, 20
	s.sh("printf 'limit:\\n  rate: 50\\n  burst: 60\\n' >>/etc/weir/weir.yaml && systemctl restart weir")
	s.active("weir.service")
	s.sh("weir ctl enable-rate-limiting --rate 10 --burst 20")
	was := s.sh("systemctl show -P MainPID weir")
	flood := testenv.Flood(t, net.Attacker, net.Bank, testenv.FloodOptions{Target: net.Bank.Addr(80), Rate: 5000, Duration: 5 * time.Minute})
	s.says("yes", "weir status | awk '$1 == \"syn\" && $6 > 1000 { print \"yes\" }'")
	begin, before := time.Now(), resets(t, net.Bank)
	s.sh("DEBIAN_FRONTEND=noninteractive apt-get install -y /packages/" + version + "/*.deb")
	s.says("yes", "p=$(systemctl show -P MainPID weir); [ $p != "+was+" ] && [ $p != 0 ] && echo yes")
	s.active("weir.service")
	s.says("weir "+version, "weir version")
	took := time.Since(begin)
	passed, most := resets(t, net.Bank)-before, uint64(took.Seconds()+1)*rate+burst
	most += 50 // of connections on loopback; a gap of 50 ms would let 250 pass
	if passed > most {
		t.Errorf("%d SYNs reached TCP in %s, at most %d should", passed, took, most)
	}
	sent := flood.Stop()
	if sent < uint64(took.Seconds()*1000) {
		t.Errorf("only %d SYNs were sent: nothing is shown", sent)
	}
	t.Logf("%d of %d SYNs reached TCP in %s", passed, sent, took)
	s.says("enforce", "weir status | sed -n 's/^mode *\\([a-z]*\\).*/\\1/p'")
	s.says("limit      10 SYNs per second and source, burst 20", "weir status | grep ^limit") // the operator's, not the file's
}

// resets are those that a host has sent: one for each SYN to a port where nobody listens.
func resets(t *testing.T, h *testenv.Host) uint64 {
	t.Helper()
	out, err := h.Command(t.Context(), "cat", "/proc/net/snmp").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^Tcp:(?: -?\d+){13} (\d+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("/proc/net/snmp: %s", out)
	}
	n, err := strconv.ParseUint(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
