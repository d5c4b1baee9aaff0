package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// machine is one whose files are as given, over those of a host that lacks nothing.
func machine(t *testing.T, files map[string]string) Machine {
	t.Helper()
	all := map[string]string{
		"proc/sys/kernel/osrelease": "6.1.0-1\n", "boot/config-6.1.0-1": "", "sys/kernel/btf/vmlinux": "x", "proc/sys/net/core/bpf_jit_enable": "1\n",
		"proc/self/status":                 "Name:\tweir\nCapEff:\t000001ffffffffff\n",
		"proc/sys/net/ipv4/tcp_syncookies": "1", "proc/sys/net/ipv4/tcp_timestamps": "1",
		"proc/sys/net/ipv4/tcp_max_syn_backlog": "4096", "proc/sys/net/core/somaxconn": "4096",
		"etc/ssh/sshd_config": "UsePAM yes\n", "etc/pam.d/sshd": "@include common-session\n", "etc/pam.d/common-session": "session optional pam_systemd.so\n",
		"proc/self/net/tcp": tcp("00000000:0016", "0A") + tcp("0100007F:1F90", "0A") + tcp("016433C6:01BB", "0A") + tcp("016433C6:C350", "01"),
	}
	for _, o := range options {
		all["boot/config-6.1.0-1"] += "CONFIG_" + o.name + "=y\n"
	}
	for name, text := range files {
		all[name] = text
	}
	m := Machine{Root: t.TempDir(), BPFFS: "bpffs"}
	for name, text := range all {
		if text == "-" {
			continue
		}
		path := filepath.Join(m.Root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func tcp(local, state string) string {
	return "   0: " + local + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000 0 0 1\n"
}

func (r Report) lines() (all []string) {
	for _, f := range r {
		if f.Level != OK {
			all = append(all, string(f.Level)+" "+f.Check+": "+f.Is)
		}
	}
	return all
}

func TestWhatAMachineLacks(t *testing.T) {
	for _, row := range []struct {
		what  string
		files map[string]string
		want  []string // but for the BPF file system, which no test folder is
	}{
		{"nothing", nil, nil},
		{"BTF", map[string]string{"sys/kernel/btf/vmlinux": "-"}, []string{"warning btf: there is no /sys/kernel/btf/vmlinux"}},
		{"the JIT", map[string]string{"proc/sys/net/core/bpf_jit_enable": "0"}, []string{"warning jit: net.core.bpf_jit_enable is 0"}},
		{"a look at the JIT", map[string]string{"proc/sys/net/core/bpf_jit_enable": "-"}, []string{"unknown jit: net.core.bpf_jit_enable can't be read here"}},
		{"an option", map[string]string{"boot/config-6.1.0-1": "CONFIG_BPF_SYSCALL=y\n# CONFIG_BPF_JIT is not set\nCONFIG_NET_CLS_ACT=y\nCONFIG_NET_SCH_INGRESS=m\n" +
			"CONFIG_NET_ACT_POLICE=m\nCONFIG_NET_CLS_FLOWER=m\nCONFIG_NET_CLS_BPF=m\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_SYN_COOKIES=y\n"}, []string{"warning kernel-options: CONFIG_BPF_JIT isn't set"}},
		{"its configuration", map[string]string{"boot/config-6.1.0-1": "-"}, []string{"unknown kernel-options: neither /boot/config-6.1.0-1 nor /proc/config.gz is there"}},
		{"a broken configuration", map[string]string{"boot/config-6.1.0-1": "-", "proc/config.gz": "no gzip"}, []string{"unknown kernel-options: /proc/config.gz: unexpected EOF"}},
		{"privilege", map[string]string{"proc/self/status": "CapEff:\t0000000000000000\n"}, []string{"bad capabilities: CAP_BPF is missing",
			"bad capabilities: CAP_NET_ADMIN is missing", "warning capabilities: CAP_PERFMON is missing"}},
		{"all but an older root's", map[string]string{"proc/self/status": "CapEff:\t0000000000201000\n"}, nil}, // CAP_SYS_ADMIN and CAP_NET_ADMIN
		{"CapEff", map[string]string{"proc/self/status": "CapEff: what?\n"}, []string{"unknown capabilities: /proc/self/status has no CapEff"}},
		{"cookies", map[string]string{"proc/sys/net/ipv4/tcp_syncookies": "0", "proc/sys/net/core/somaxconn": "128"}, []string{
			"warning sysctl: net.ipv4.tcp_syncookies is 0", "warning sysctl: net.core.somaxconn is 128"}},
		{"listeners", map[string]string{"proc/self/net/tcp": tcp("0100007F:1F90", "0A"), "proc/self/net/tcp6": tcp("00000000000000000000000001000000:0016", "0A")},
			[]string{"warning listeners: nobody listens on TCP, but on loopback"}},
		{"SSH", map[string]string{"proc/self/net/tcp": tcp("00000000:0050", "0A")}, []string{"warning management: nobody listens on management port 22"}},
		{"pam_systemd", map[string]string{"etc/pam.d/common-session": "# session optional pam_systemd.so\n"},
			[]string{"warning logins: systemd-logind isn't told who logs in by SSH"}},
		{"sshd", map[string]string{"etc/ssh/sshd_config": "-", "etc/pam.d/common-session": "-"}, nil},
	} {
		t.Run(row.what, func(t *testing.T) {
			m := machine(t, row.files)
			var r Report
			m.Kernel(&r)
			m.Privilege(&r)
			m.Settings(&r, []uint16{22})
			m.Logins(&r)
			got := slices.DeleteFunc(r.lines(), func(l string) bool { return strings.HasPrefix(l, "bad bpffs: bpffs isn't there") })
			if !slices.Equal(got, row.want) {
				t.Errorf("%q", got)
			}
			for _, f := range r {
				if (f.Level == Bad || f.Level == Warning) && (f.Costs == "" || f.Mend == "") {
					t.Errorf("%+v doesn't say what it costs, or how to mend it", f)
				}
			}
		})
	}
}

func TestCards(t *testing.T) {
	good := Card{Name: "eth0", Driver: "ice", MTU: 1500, Queues: 4, XDP: true, CPUs: 4}
	for _, row := range []struct {
		what   string
		change func(*Card)
		want   string
	}{
		{"a good one", func(*Card) {}, ""},
		{"held", func(c *Card) { c.Tier = "xdp-native" }, ""},
		{"held slowly", func(c *Card) { c.Tier = "xdp-generic" }, "warning tier: weir holds it by xdp-generic"},
		{"held by tc's program", func(c *Card) { c.Tier = "tc-bpf" }, "warning tier: weir holds it by tc-bpf"},
		{"held by tc alone", func(c *Card) { c.Tier = "tc-police" }, "warning tier: weir holds it by tc-police"},
		{"somebody else's", func(c *Card) { c.Foreign = true }, "warning tier: weir doesn't hold it, and another XDP program does"},
		{"forgotten", func(c *Card) { c.Tier, c.Overdue = "xdp-native", true }, "bad lease: tc's limit is on though its lease is over, and nobody lives who would end it"},
		{"tags", func(c *Card) { c.Strips = true }, ""},
		{"VLANs without tags", func(c *Card) { c.Strips, c.VLANs = true, true }, "warning nic eth0: there are VLANs on it, and it takes their tags off before XDP"},
		{"no XDP", func(c *Card) { c.XDP = false }, "warning tier: weir doesn't hold it, and its driver runs no XDP"},
		{"unknown", func(c *Card) { c.XDPErr = errors.New("drivers tell since Linux 6.3") }, "unknown tier: weir doesn't hold it; whether its driver runs XDP isn't known: drivers tell since Linux 6.3"},
		{"LRO", func(c *Card) { c.LRO = true }, "warning nic eth0: large receive offload is on"},
		{"jumbo frames", func(c *Card) { c.MTU = 9000 }, "warning nic eth0: MTU 9000 is more than a page holds"},
		{"one queue", func(c *Card) { c.Queues = 1 }, "warning nic eth0: all packets come by one queue"},
	} {
		c := good
		row.change(&c)
		var r Report
		Interface(&r, c)
		for _, f := range r {
			if (f.Level == Bad || f.Level == Warning) && (f.Costs == "" || f.Mend == "") {
				t.Errorf("%+v doesn't say what it costs, or how to mend it", f)
			}
		}
		if got := strings.Join(r.lines(), "; "); got != row.want {
			t.Errorf("%s: %q", row.what, got)
		}
	}
}

func TestReports(t *testing.T) {
	var r Report
	Datapath(&r, Abilities{OwnCookies: errors.New("the kernel is\nolder"), Tracking: errors.New("none")})
	if r.Bad() != 0 || r.Warnings() != 1 {
		t.Errorf("%+v", r)
	}
	Datapath(&r, Abilities{Load: errors.New("not permitted")})
	Missing(&r, errors.New("no such interface"))
	Identity(&r, nil, "sensor-x", "")
	Identity(&r, nil, "sensor-x", "ends in 9 days")
	now := time.Now()
	Broker(&r, "tcp://x", time.Time{}, now, nil)
	Broker(&r, "tls://x", now.AddDate(0, 1, 0), now, nil)
	Page(&r, "page.crt", now.AddDate(0, 1, 0), now, nil)
	Policer(&r, Policing{})
	if r.Bad() != 2 || r.Warnings() != 2 {
		t.Errorf("%+v", r)
	}
	Broker(&r, "tls://x", now.AddDate(0, 0, 13), now, nil)
	Broker(&r, "tls://x", time.Time{}, now, errors.New("refused"))
	Page(&r, "page.crt", now.AddDate(0, 0, -1), now, nil)
	Page(&r, "page.crt", time.Time{}, now, errors.New("no such file"))
	Policer(&r, Policing{Police: errors.New("no such file or directory")})
	Policer(&r, Policing{U32: true, Bytes: true})
	if r.Bad() != 2 || r.Warnings() != 9 {
		t.Errorf("%+v", r)
	}
	var text, machines bytes.Buffer
	if err := errors.Join(r.Print(&text), r.PrintJSON(&machines)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "warning  own cookies      not: the kernel is older\n                          costs: ") {
		t.Error(text.String())
	}
	for line := range strings.Lines(machines.String()) {
		var f Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Check == "" || f.Level == "" || f.Is == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}
