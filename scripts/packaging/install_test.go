package packaging

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/testenv"
)

// each component as a service of its own.
var each = []string{"weir-broker.service", "weir-sensor.service", "weir-controller.service", "weir-monitor.service", "weir-web.service"}

// patience is long: another test may have both processors.
const patience = time.Minute

// server is a fresh Debian on which packages are tried.
type server struct {
	*testenv.Machine
	t *testing.T
}

func (s server) sh(script string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Run(s.t, patience, "sh", "-c", script))
}

// says waits until a script prints a text.
func (s server) says(want, script string) {
	s.t.Helper()
	var got string
	deadline := time.Now().Add(patience)
	for {
		out, err := s.Command(s.t.Context(), "sh", "-c", script).CombinedOutput()
		if got = strings.TrimSpace(string(out)); got == want {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s prints %q (%v), want %q\n%s", script, got, err, want, s.sh("journalctl --no-pager -n 60 -o cat"))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s server) active(units ...string) {
	s.t.Helper()
	s.says(strings.TrimSpace(strings.Repeat("active\n", len(units))), "systemctl is-active "+strings.Join(units, " "))
}

// TestInstall is what becomes of a server: installation, hardening, a component that hangs, an upgrade during a flood, removal, also
// after a return.
func TestInstall(t *testing.T) {
	net := testenv.Bank(t)
	first, second := packages(t, "1.0.0"), packages(t, "1.0.1")
	s := server{testenv.Boot(t, net.Bank, testenv.BootOptions{Binds: []string{filepath.Dir(first) + ":/packages:ro"}}), t}
	s.sh("chmod 1700 /sys/fs/bpf") // systemd's own mount is for root alone
	// As servers have, unlike a minimal Debian.
	uplink := testenv.OpenUplink(t, net.Bank, "nat")
	s.sh("DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openssh-server libpam-systemd")
	uplink.Close()
	s.sh("mkdir -p -m 700 /root/.ssh")
	before := s.sh(everything)
	users := s.sh("cat /etc/passwd /etc/group")

	s.sh("DEBIAN_FRONTEND=noninteractive apt-get install -y /packages/1.0.0/*.deb")
	s.active("weir.service")
	s.says("xdp-native", tier)
	t.Run("hardened", s.hardened)
	t.Run("logins", func(t *testing.T) { s.logins(t, net) })
	t.Run("journal", s.journal)
	t.Run("unload", s.unload)
	t.Run("hangs", s.hangs)
	t.Run("another form", func(t *testing.T) { s.anotherForm(t, filepath.Base(second)) })
	t.Run("upgrade", func(t *testing.T) { s.upgrade(t, net, filepath.Base(second)) })
	t.Run("components", s.components)
	t.Run("settings", s.settings)

	s.sh("apt-get remove -y weir")
	s.sh("DEBIAN_FRONTEND=noninteractive apt-get install -y /packages/1.0.1/*.deb") // which dpkg calls an upgrade, too
	s.active("weir.service")
	s.sh("echo 'nonsense: [' >>/etc/weir/weir.yaml") // holds nothing in force
	s.sh("apt-get remove -y weir")
	s.says("", "ip link show dev eth0 | grep -o xdp; find /sys/fs/bpf -mindepth 1 -name 'weir*'; pgrep -x weir; command -v weir; systemctl list-units --plain --no-legend 'weir*' | grep running")
	s.says("/etc/weir/weir.yaml", "ls /etc/weir/weir.yaml") // until purge
	s.sh("apt-get purge -y weir")
	if after := s.sh(everything); after != before {
		t.Errorf("purge leaves, or took:\n%s", difference(before, after))
	}
	if after := s.sh("cat /etc/passwd /etc/group"); after != users {
		t.Errorf("purge leaves users:\n%s", difference(users, after))
	}
}

const (
	tier = "weir status | sed -n 's/^interface *eth0, \\([a-z-]*\\),.*/\\1/p'"

	// What systemd, apt and dpkg keep for themselves is left out.
	everything = "find / -xdev ! -path '/proc*' ! -path '/sys*' ! -path '/run*' ! -path '/tmp*' ! -path '/dev*' ! -path '/var/lib/systemd*'" +
		" ! -path '/var/lib/dpkg*' ! -path '/var/lib/apt*' ! -path '/var/cache*' ! -path '/var/log*' ! -path '/var/tmp*' ! -path '/etc/passwd*' ! -path '/etc/group*'" +
		" ! -path '/etc/shadow*' ! -path '/etc/gshadow*' ! -path '/etc/.pwd.lock' ! -path '/packages*' | sort"
)

func difference(a, b string) string {
	was, is := strings.Split(a, "\n"), strings.Split(b, "\n")
	var lines []string
	for _, l := range is {
		if !slices.Contains(was, l) {
			lines = append(lines, "+ "+l)
		}
	}
	for _, l := range was {
		if !slices.Contains(is, l) {
			lines = append(lines, "- "+l)
		}
	}
	return strings.Join(lines, "\n")
}

// hardened looks at what the kernel knows of the service, and at systemd's own judgement of the units.
func (s server) hardened(t *testing.T) {
	s.t = t
	status := s.sh("grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/$(systemctl show -P MainPID weir)/status; id -u weir")
	lines := strings.Split(status, "\n")
	uid := lines[len(lines)-1]
	caps := uint64(1<<12 | 1<<38 | 1<<39) // NET_ADMIN, PERFMON, BPF
	for _, want := range []string{
		"Uid:\t" + strings.Repeat(uid+"\t", 3) + uid, "NoNewPrivs:\t1", "Seccomp:\t2",
		"CapEff:\t" + pad(caps), "CapBnd:\t" + pad(caps),
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, status)
		}
	}
	for unit, most := range map[string]int{ // exposure as systemd sees it, of 100
		"weir.service": 25, "weir-controller.service": 25, "weir-sensor.service": 30, "weir-monitor.service": 20, "weir-web.service": 20, "weir-broker.service": 20,
	} {
		out, err := s.Command(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold="+strconv.Itoa(most), unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s is exposed more than %d: %v\n%s", unit, most, err, out)
		}
	}
}

func pad(caps uint64) string {
	h := strconv.FormatUint(caps, 16)
	return strings.Repeat("0", 16-len(h)) + h
}

// journal wants each line in JSON, of the priority that its level says, and none for each message.
func (s server) journal(t *testing.T) {
	s.t = t
	s.sh("weir ctl disable-rate-limiting")
	out := s.sh("journalctl -u weir _COMM=weir -o json --no-pager")
	priorities := map[string]string{"DEBUG": "7", "INFO": "6", "WARN": "4", "ERROR": "3"}
	n := 0
	for line := range strings.Lines(out) {
		var entry struct{ MESSAGE, PRIORITY string }
		var message struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := json.Unmarshal([]byte(entry.MESSAGE), &message); err != nil || message.Msg == "" {
			t.Errorf("not JSON: %s", entry.MESSAGE)
		} else if priorities[message.Level] != entry.PRIORITY {
			t.Errorf("priority %s: %s", entry.PRIORITY, entry.MESSAGE)
		}
		if strings.Contains(entry.MESSAGE, `cpu_usage\"`) { // a payload
			t.Errorf("a message received: %s", entry.MESSAGE)
		}
		n++
	}
	if n == 0 {
		t.Error("there is no line")
	}
}

// unload is for good: systemd doesn't start it again.
func (s server) unload(t *testing.T) {
	s.t = t
	s.sh("weir unload")
	s.says("failed 3", "echo $(systemctl show -P ActiveState weir) $(systemctl show -P ExecMainStatus weir)")
	time.Sleep(5 * time.Second) // RestartSec is 3
	s.says("failed 3", "echo $(systemctl show -P ActiveState weir) $(systemctl show -P ExecMainStatus weir)")
	s.sh("systemctl start weir")
	s.says("xdp-native", tier)
}

// hangs has systemd end what doesn't move, and start it again; the datapath stays.
func (s server) hangs(t *testing.T) {
	s.t = t
	s.sh("mkdir -p /run/systemd/system/weir.service.d && printf '[Service]\\nWatchdogSec=3\\n' >/run/systemd/system/weir.service.d/test.conf && systemctl daemon-reload && systemctl restart weir")
	link := s.sh(program)
	was := s.sh("systemctl show -P MainPID weir")
	s.sh("sleep 5")
	s.says(was, "systemctl show -P MainPID weir") // while it moves it's left alone
	s.sh("kill -STOP " + was)
	s.says("yes", "p=$(systemctl show -P MainPID weir); [ $p != "+was+" ] && [ $p != 0 ] && echo yes")
	s.active("weir.service")
	if now := s.sh(program); link == "" || now != link {
		t.Errorf("program %q before, %q after", link, now)
	}
	s.sh("rm /run/systemd/system/weir.service.d/test.conf && systemctl daemon-reload && systemctl restart weir")
}

const program = "ip -j link show dev eth0 | grep -o '\"xdp\":{[^}]*}[^}]*}'"

// components runs each as a service of its own, with a user of its own but for the two that share the datapath.
func (s server) components(t *testing.T) {
	s.t = t
	link := s.sh(program)
	s.sh("systemctl start " + strings.Join(each, " "))
	s.active(each...)
	s.handedOver(t, "weir.service", each...)
	s.says("weir-broker\nweir\nweir\nweir-monitor\nweir-web", "for u in "+strings.Join(each, " ")+"; do ps -o user:20= -p $(systemctl show -P MainPID $u); done")
	if out := s.sh("weir ctl enable-rate-limiting"); !strings.Contains(out, "success") {
		t.Errorf("the controller says %s", out)
	}
	s.says("enforce", "weir status | sed -n 's/^mode *\\([a-z]*\\).*/\\1/p'")
	s.sh("weir ctl disable-rate-limiting && weir ctl block 192.0.2.0/24 && systemctl restart weir-controller weir-sensor")
	s.says("yes", "weir status --lists | grep -q 192.0.2.0/24 && echo yes")
	s.sh("weir ctl unblock 192.0.2.0/24")
	if out := s.sh("journalctl -p warning --no-pager -o cat -u weir-sensor -u weir-controller -u weir-monitor -u weir-web -u weir-broker"); strings.Contains(out, "ermi") {
		t.Errorf("something isn't permitted:\n%s", out)
	}
	s.sh("systemctl start weir")
	s.active("weir.service")
	for _, u := range each {
		s.handedOver(t, u, "weir.service")
	}
	if now := s.sh(program); link == "" || now != link {
		t.Errorf("program %q before, %q after", link, now)
	}
}

// handedOver wants a service to have ended before others started, and none to have failed.
func (s server) handedOver(t *testing.T, from string, to ...string) {
	t.Helper()
	s.says("inactive", "systemctl is-active "+from)
	if n := s.sh("systemctl show -P NRestarts " + strings.Join(to, " ")); strings.Trim(n, "0\n") != "" {
		t.Errorf("%v had to be started again: %q", to, n)
	}
	for _, u := range to {
		if order := s.sh("echo $(($(systemctl show -P InactiveEnterTimestampMonotonic " + from + ") <= $(systemctl show -P InactiveExitTimestampMonotonic " + u + ")))"); order != "1" {
			t.Errorf("%s started before %s had ended", u, from)
		}
	}
}

// settings come from /etc/weir/weir.yaml, which an upgrade leaves as it is, also for whoever types a command.
func (s server) settings(t *testing.T) {
	s.t = t
	s.active("weir.service")
	s.says("limit      50 SYNs per second and source, burst 60", "weir status | grep ^limit")
	s.sh("printf 'server: other\\n' >>/etc/weir/weir.yaml && systemctl restart weir")
	s.active("weir.service")
	if out := s.sh("weir ctl disable-rate-limiting && weir config | grep '^server'"); !strings.Contains(out, `"other"`) {
		t.Errorf("the settings are not those of the file: %s", out)
	}
}

// TestRPM looks at the .rpm with Debian's rpm.
func TestRPM(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "rpm")
	dir := packages(t, "1.0.0")
	file := only(t, dir+"/*.rpm")
	list := strings.Fields(command(t, nil, "rpm", "-qpl", file))
	root := t.TempDir()
	command(t, nil, "rpm", "--root", root, "--initdb")
	command(t, nil, "rpm", "--root", root, "-i", "--nodeps", "--noscripts", "--ignorearch", file)
	for _, path := range list {
		if _, err := os.Lstat(filepath.Join(root, path)); err != nil {
			t.Error(err)
		}
	}
	command(t, nil, "rpm", "--root", root, "-V", "--nodeps", "weir")
	scripts := command(t, nil, "rpm", "-qp", "--scripts", file)
	for _, want := range []string{"systemd-sysusers weir.conf", "weir unload --all", "abi=" + strconv.Itoa(datapath.ABI) + "\n", "try-restart weir.service"} {
		if !strings.Contains(scripts, want) {
			t.Errorf("no %q in\n%s", want, scripts)
		}
	}
	if out := command(t, nil, "rpm", "-qp", "--configfiles", file); strings.TrimSpace(out) != "/etc/weir/weir.yaml" {
		t.Errorf("configuration files: %s", out)
	}
	command(t, nil, "rpm", "--root", root, "-e", "--nodeps", "--noscripts", "weir")
	for _, path := range list {
		if _, err := os.Lstat(filepath.Join(root, path)); err == nil && strings.Contains(path, "weir") {
			t.Errorf("%s is left", path)
		}
	}
}
