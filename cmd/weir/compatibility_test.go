package main

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/doctor"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// promises reads the table below a heading of docs/compatibility.md: the cells by the names of row and column.
func promises(t *testing.T, heading string) map[string]map[string]string {
	t.Helper()
	file := os.Getenv("COMPATIBILITY") // where there is no tree: see scripts/vm
	if file == "" {
		file = "../../docs/compatibility.md"
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var names []string
	rows := map[string]map[string]string{}
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		if names == nil {
			names = cells
			continue
		}
		row := map[string]string{}
		for i, c := range cells[1:] {
			row[names[i+1]] = c
		}
		rows[cells[0]] = row
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table of %s", file, heading)
	}
	return rows
}

var series = regexp.MustCompile(`^\d+\.\d+`)

// kernelName is what the table calls this kernel: its series, and its kind where it is Debian's.
func kernelName() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	release := unix.ByteSliceToString(u.Release[:])
	name := series.FindString(release)
	for _, kind := range []string{"cloud", "rt", "amd64"} {
		if strings.HasSuffix(release, "-"+kind) || strings.HasSuffix(release, "-"+kind+"-amd64") {
			return name + " " + kind
		}
	}
	return name
}

// What docs/compatibility.md says of this kernel is what weir doctor says on it.
func TestCompatibilityOfKernels(t *testing.T) {
	kernel := kernelName()
	want, there := promises(t, "Kernels")[kernel]
	if !there {
		if os.Getenv("VM") != "" {
			t.Fatalf("docs/compatibility.md says nothing of %s", kernel)
		}
		t.Skipf("docs/compatibility.md says nothing of %s: scripts/vm tries those of which it does", kernel)
	}
	s := newSite(t)
	found, status := s.examine()
	if status != 0 {
		t.Errorf("weir doctor: exit status %d", status)
	}
	for check, f := range found {
		t.Logf("%s: %s: %s", check, f.Level, f.Is)
	}
	if want["known by"] != "run" {
		t.Errorf("%s was run: the table says %q", kernel, want["known by"])
	}
	for check, promised := range want {
		if check == "known by" || check == "of" {
			continue
		}
		is := "yes"
		if f := found[check]; f.Check == "" {
			is = "nothing"
		} else if f.Level != doctor.OK || strings.HasPrefix(f.Is, "not: ") {
			is = "no"
		}
		if is != promised {
			t.Errorf("%s: %s: doctor says %s, the table %s", kernel, check, is, promised)
		}
	}
}

// What the table says of a tier is what it does.
func TestTiersDoWhatIsSaid(t *testing.T) {
	table := promises(t, "Tiers")
	tiers := []string{"xdp-native", "xdp-generic", "tc-bpf", "tc-police"}
	if os.Getenv("VM") != "" {
		tiers = tiers[3:] // the others are tried where it takes less time
	}
	for _, tier := range tiers {
		t.Run(tier, func(t *testing.T) {
			s := newSite(t)
			if tier == "tc-police" {
				s.needPolice()
			}
			s.serve()
			s.start("up", "--sensor-tier", tier, "--limit-unverified-rate", "100",
				"--budgets-udp-total-rate", "1", "--budgets-udp-total-burst", "1")
			o := te.Observe(t, s.Bank, brokerAddr)
			blocks := s.order(o, `{"command": "block_source", "source": "203.0.113.9", "ttl_seconds": 60}`, `"block_source"`)
			if got := s.order(o, `{"command": "enable_rate_limiting", "rate": 10, "burst": 10}`, `"enable_rate_limiting"`); got.Status != wire.Success {
				t.Fatalf("%+v", got)
			}
			one := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 1000})
			// Before SYNs are challenged, since whoever is then on top may be forged and isn't named.
			const names = "names the busiest sources"
			named := table[names][tier] == "yes"
			if named {
				te.Eventually(t, patience, "source on top", func() bool { return s.does()[names] })
			}
			many := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 1000, Sources: te.RandomSources})
			s.datagrams(50)
			defer one.Stop()
			defer many.Stop()
			var wrong []string
			for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) { // what is promised may take a while
				wrong = nil
				does := s.does()
				does["blocks and allows by lists"] = blocks.Status == wire.Success
				does[names] = does[names] || named
				for row, is := range does {
					if want := map[bool]string{true: "yes", false: "no"}[is]; table[row][tier] != want {
						wrong = append(wrong, row+": "+want+", the table says "+table[row][tier])
					}
				}
				if len(wrong) == 0 || time.Now().After(deadline) {
					break
				}
			}
			for _, text := range wrong {
				t.Error(text)
			}
		})
	}
}

// does is what weir status shows that it does, by the table's rows.
func (s *site) does() map[string]bool {
	s.t.Helper()
	shown := s.shown()
	var syn, udp classStatus
	for _, c := range shown.Classes {
		switch c.Class {
		case "syn":
			syn = c
		case "udp":
			udp = c
		}
	}
	return map[string]bool{
		"counts SYNs":                    syn.Passed+syn.Dropped+syn.Challenged > 100,
		"counts other packets":           udp.Passed+udp.Dropped > 0,
		"names the busiest sources":      len(shown.Top) > 0,
		"holds each source to its rate":  shown.Reasons["source_rate"].Dropped > 0,
		"challenges by SYN cookies":      syn.Challenged > 0,
		"holds other classes to budgets": udp.Dropped > 0,
	}
}

// datagrams sends some from the attacker to the bank.
func (s *site) datagrams(n int) {
	s.t.Helper()
	s.Attacker.Do(s.t, func() {
		c, err := net.Dial("udp", s.Bank.Addr(53).String())
		if err != nil {
			s.t.Fatal(err)
		}
		defer c.Close()
		for range n {
			_, _ = c.Write([]byte("x")) // nobody listens, which later writes are told
		}
	})
}

// The virtual machine's cards are held as their drivers let.
func TestCompatibilityOfCards(t *testing.T) {
	if os.Getenv("VM") == "" {
		t.Skip("this machine's own cards are left alone: see scripts/vm")
	}
	table := promises(t, "Network cards")
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	host, bpffs := te.Local(), te.PinDir(t)
	for _, i := range all {
		link, err := os.Readlink("/sys/class/net/" + i.Name + "/device/driver")
		if err != nil {
			continue // no hardware
		}
		driver := link[strings.LastIndex(link, "/")+1:]
		sensor := host.Start(t, binary, "sensor", "--interface", i.Name, "--bpffs", bpffs, "--broker", "tcp://127.0.0.1:9")
		sensor.Await(t, "datapath attached", patience)
		want := table[driver]
		if want["known by"] != "run" || !strings.Contains(sensor.Output(), "tier="+want["tier"]) {
			t.Errorf("%s, %s: the table says %q: %s", i.Name, driver, want, sensor.Output())
		}
		sensor.Stop()
		host.Run(t, binary, "unload", "--interface", i.Name, "--bpffs", bpffs)
	}
}
