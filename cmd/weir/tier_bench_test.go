package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/datapath/flood"
	"github.com/weir-sensor/weir/pkg/policer"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// contender is a way to drop a flood, on a veth pair of its own.
type contender struct {
	name    string
	gen     *flood.Flood
	dropped func() uint64 // nil for nobody counts
	ns      []float64     // a packet, by round
}

// BenchmarkTiers measures what each tier drops of a flood from 1,000 sources, next to nftables' drop of all in its netdev family, in
// turns: the median of the rounds' ratios counts.
//
//	go test -run '^$' -bench Tiers -benchtime 9x ./cmd/weir
func BenchmarkTiers(b *testing.B) {
	te.Root(b)
	te.Tool(b, "nft", "ethtool")
	frames := uint32(1 << 20)
	if os.Getenv("VM") != "" {
		frames = 1 << 12 // without hardware help
	}
	runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the goroutine
	must(b, unix.Unshare(unix.CLONE_NEWNET))
	setUp(b, "ip", "link", "set", "lo", "up")
	all := []*contender{newContender(b, "nft", dropByNFT)}
	for _, tier := range []string{datapath.TierNative, datapath.TierGeneric, datapath.TierTC} {
		all = append(all, newContender(b, tier, func(b *testing.B, iface string) func() uint64 { return dropByProgram(b, iface, tier) }))
	}
	if policer.Probe().Police == nil {
		all = append(all, newContender(b, tierPolice, dropByPolice))
	} else {
		b.Log("this kernel has no police action: scripts/vm --bench measures tc-police")
	}
	sent := uint64(0)
	for b.Loop() {
		for _, c := range all {
			_, warm := c.gen.Send(frames / 16)
			d, err := c.gen.Send(frames)
			must(b, errors.Join(warm, err))
			c.ns = append(c.ns, float64(d.Nanoseconds())/float64(frames))
		}
		sent += uint64(frames + frames/16)
	}
	for _, c := range all {
		ratios := make([]float64, len(c.ns))
		for i := range c.ns {
			ratios[i] = all[0].ns[i] / c.ns[i]
		}
		b.ReportMetric(1e3/middle(c.ns), c.name+"-Mpps")
		if c.dropped == nil {
			continue
		}
		b.ReportMetric(middle(ratios), c.name+"-of-nft")
		if n := c.dropped(); n < sent*9/10 {
			b.Errorf("%s dropped %d of %d", c.name, n, sent)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func middle(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }

func setUp(b *testing.B, name string, args ...string) {
	b.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// newContender makes a pair of its own. Its end takes frames without an XDP program, too: GRO gives a veth what that needs.
func newContender(b *testing.B, name string, drop func(*testing.B, string) func() uint64) *contender {
	b.Helper()
	n := len(name) // the longest is xdp-generic; names of interfaces have 15 bytes
	from, to := "g-"+name[:min(n, 12)], "i-"+name[:min(n, 12)]
	setUp(b, "ip", "link", "add", from, "type", "veth", "peer", "name", to)
	setUp(b, "ethtool", "-K", to, "gro", "on")
	setUp(b, "ip", "link", "set", from, "up")
	setUp(b, "ip", "link", "set", to, "up")
	c := &contender{name: name, dropped: drop(b, to)}
	source, err := net.InterfaceByName(from)
	must(b, err)
	target, err := net.InterfaceByName(to)
	must(b, err)
	c.gen, err = flood.New(flood.Options{
		Interface: from, Source: source.HardwareAddr, Destination: target.HardwareAddr,
		Target: netip.MustParseAddrPort("192.0.2.1:443"), FirstSource: netip.MustParseAddr("10.0.0.1"), NumSources: 1000,
	})
	must(b, err)
	b.Cleanup(func() { must(b, c.gen.Close()) })
	return c
}

func dropByNFT(b *testing.B, iface string) func() uint64 {
	setUp(b, "nft", fmt.Sprintf("table netdev bench { chain in { type filter hook ingress device %q priority 0; policy drop; }; }", iface))
	return nil
}

// slow is a limit that next to nothing passes.
var slow = datapath.Limit{Rate: 1, Burst: 1}

func dropByProgram(b *testing.B, iface, tier string) func() uint64 {
	bpffs := te.PinDir(b)
	a, err := datapath.Attach(datapath.Options{
		Interface: iface, BPFFS: bpffs, Sources: datapath.DefaultSources, Limit: slow, Version: "bench", Tier: tier,
	})
	must(b, err)
	b.Cleanup(func() {
		_, err := datapath.Unload(bpffs, iface)
		must(b, errors.Join(a.Close(), err))
	})
	must(b, datapath.NewSwitch(bpffs, iface).Enable(slow, time.Hour))
	return func() uint64 {
		c, err := a.Counters()
		must(b, err)
		return c.Total(datapath.VerdictDrop, datapath.ReasonSourceRate).Packets
	}
}

func dropByPolice(b *testing.B, iface string) func() uint64 {
	p, err := policer.New(policer.Options{
		Interface: iface, Total: slow, Management: []uint16{22}, Run: b.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	must(b, err)
	must(b, p.Enable(slow, time.Hour))
	return func() uint64 {
		s, err := p.Stats()
		must(b, err)
		return s.DroppedTotal
	}
}
