package packaging

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/testenv"
)

// logins has an administrator log in by SSH: the service, which may look into no process, exempts his address. Debian's sshd registers
// each session with logind; one without PAM writes those with a terminal into utmp.
func (s server) logins(t *testing.T, net *testenv.BankNet) {
	testenv.Tool(t, "ssh", "ssh-keygen")
	s.t = t
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s.sh("echo '" + strings.TrimSpace(string(public)) + "' >/root/.ssh/authorized_keys && systemctl start ssh")
	s.sh("mkdir -p /run/sshd && systemd-run --unit=other-sshd /usr/sbin/sshd -D -o UsePAM=no -o PidFile=none -p 2222")
	s.active("ssh.service", "other-sshd.service", "systemd-logind.service")
	login := func(to netip.Addr, port int, more ...string) *testenv.Process {
		return net.Customer.Start(t, "ssh", append([]string{"-F", "none", "-i", key, "-p", fmt.Sprint(port), "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "root@" + to.String()}, more...)...)
	}
	exempt := func(a netip.Addr) {
		t.Helper()
		s.says("1", "weir status --lists | grep -c '^"+a.String()+"/.* exempt '")
	}
	s.says("0", "weir status --lists | grep -c ' exempt '")
	sessions := []*testenv.Process{login(net.Bank.IPv4, 22, "-N")}
	exempt(net.Customer.IPv4)
	sessions = append(sessions, login(net.Bank.IPv6, 2222, "-tt", "sleep", "600"))
	exempt(net.Customer.IPv6)
	if out := s.sh("journalctl -u weir --no-pager -o cat -p warning"); strings.Contains(out, "logged in") {
		t.Errorf("the service can't look for sessions:\n%s", out)
	}
	out, err := s.Command(t.Context(), "weir", "ctl", "block", net.Customer.IPv6.String()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "logged in by SSH") {
		t.Errorf("an administrator can be blocked: %v: %s", err, out)
	}
	for _, p := range sessions {
		p.Stop()
	}
	s.sh("systemctl stop ssh other-sshd; rm /root/.ssh/authorized_keys")
}
