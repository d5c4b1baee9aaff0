package doctor

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where to look.
type Machine struct {
	Root  string // of the file system; "/", but for tests
	BPFFS string
}

func (m Machine) path(p string) string { return filepath.Join(m.Root, p) }

func (m Machine) read(p string) (string, error) {
	b, err := os.ReadFile(m.path(p))
	return strings.TrimSpace(string(b)), err
}

// number reads a sysctl; ok is false if there is none.
func (m Machine) number(p string) (n uint64, ok bool) {
	text, err := m.read(p)
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return 0, false
	}
	n, err = strconv.ParseUint(fields[0], 10, 64)
	return n, err == nil
}

// options are what a kernel is configured with that weir needs, and what is gone without.
var options = []struct{ name, costs string }{
	{"BPF_SYSCALL", "weir can't work at all"},
	{"BPF_JIT", "each packet costs several times as much"},
	{"NET_CLS_ACT", "no challenge by own cookies, and no policer"},
	{"NET_SCH_INGRESS", "no policer"},
	{"NET_ACT_POLICE", "no policer"},
	{"NET_CLS_FLOWER", "the policer matches by u32, which finds no SYNs behind two VLAN tags or IPv6 extension headers"},
	{"NET_CLS_BPF", "no tc-bpf: where there is no XDP SYNs alone are counted"},
	{"DEBUG_INFO_BTF", "handshakes by the kernel aren't seen, and there is no challenge by own cookies"},
	{"SYN_COOKIES", "no challenge"},
}

// Kernel looks at the kernel's version and configuration, BTF, the JIT and the BPF file system.
func (m Machine) Kernel(r *Report) {
	release, err := m.read("proc/sys/kernel/osrelease")
	if err != nil {
		r.add("kernel", Unknown, err.Error(), "", "mount /proc")
	} else {
		r.ok("kernel", "Linux %s", release)
	}
	m.configuration(r, release)
	if _, err := os.Stat(m.path("sys/kernel/btf/vmlinux")); err == nil {
		r.ok("btf", "the kernel's types are there")
	} else {
		r.add("btf", Warning, "there is no /sys/kernel/btf/vmlinux", "handshakes that the kernel completes aren't seen, and the challenge is by the kernel's cookies at best",
			"install a kernel with CONFIG_DEBUG_INFO_BTF=y, as Debian's are: apt-get install linux-image-amd64")
	}
	switch jit, ok := m.number("proc/sys/net/core/bpf_jit_enable"); {
	case !ok:
		r.add("jit", Unknown, "net.core.bpf_jit_enable can't be read here", "", "look at it outside of containers and network namespaces")
	case jit == 0:
		r.add("jit", Warning, "net.core.bpf_jit_enable is 0", "each packet costs several times as much", "sysctl -w net.core.bpf_jit_enable=1")
	default:
		r.ok("jit", "programs are compiled")
	}
	m.bpffs(r)
}

func (m Machine) configuration(r *Report, release string) {
	text, err := m.readConfiguration(release)
	if err != nil {
		r.add("kernel-options", Unknown, err.Error(), "", "none: what the kernel can do is tried below")
		return
	}
	has := map[string]bool{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "CONFIG_"), "=")
		has[name] = value == "y" || value == "m"
	}
	missing := 0
	for _, o := range options {
		if !has[o.name] {
			missing++
			r.add("kernel-options", Warning, "CONFIG_"+o.name+" isn't set", o.costs, newKernel)
		}
	}
	if missing == 0 {
		r.ok("kernel-options", "all that weir uses are set")
	}
}

func (m Machine) readConfiguration(release string) (string, error) {
	if text, err := m.read("boot/config-" + release); err == nil {
		return text, nil
	}
	f, err := os.Open(m.path("proc/config.gz"))
	if err != nil {
		return "", fmt.Errorf("neither /boot/config-%s nor /proc/config.gz is there", release)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", fmt.Errorf("/proc/config.gz: %w", err)
	}
	const most = 4 << 20
	text, err := io.ReadAll(io.LimitReader(z, most))
	return string(text), err
}

func (m Machine) bpffs(r *Report) {
	var s unix.Statfs_t
	err := unix.Statfs(m.path(m.BPFFS), &s)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.add("bpffs", Bad, m.BPFFS+" isn't there", "weir has nowhere to keep its programs", "mkdir -p "+m.BPFFS+" && mount -t bpf bpf "+m.BPFFS+", or set bpffs")
	case err != nil:
		r.add("bpffs", Unknown, err.Error(), "", "run weir doctor as root")
	case s.Type != unix.BPF_FS_MAGIC:
		r.add("bpffs", Warning, m.BPFFS+" is no BPF file system", "weir up and weir sensor mount one there, if they may", "mount -t bpf bpf "+m.BPFFS)
	default:
		r.ok("bpffs", "%s is a BPF file system", m.BPFFS)
	}
}
