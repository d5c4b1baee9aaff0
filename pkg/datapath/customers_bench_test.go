package datapath

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// BenchmarkCustomers opens 500 connections a second with a request on each, undisturbed and while SYNs from random sources come at
// 1 Mpps and at full speed, under this challenge, the kernel's own cookies and nftables' synproxy, and under an oracle. One core receives
// all packets, as if a network card's interrupts were bound to it, and there is the generator, too; customers and server have the others.
// To tell the generator's share, the customers' p99 is compared with that while it sends elsewhere, into a bare drop, as well.
//
//	go test -run '^$' -bench Customers -benchtime 1x ./pkg/datapath
func BenchmarkCustomers(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for _, flooded := range []struct {
		name string
		pps  int // -1: as fast as it goes
	}{{"1Mpps", 1_000_000}, {"full", -1}} {
		for _, defence := range []string{"weir", "oracle", "kernel", "synproxy"} {
			b.Run(fmt.Sprintf("flood=%s/%s", flooded.name, defence), func(b *testing.B) { benchCustomers(b, flooded.pps, defence) })
		}
	}
}

const synproxy = `
table ip raw { chain pre { type filter hook prerouting priority raw; tcp dport 8443 tcp flags syn notrack; }; }
table ip proxy { chain in { type filter hook input priority 0;
	tcp dport 8443 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
	tcp dport 8443 ct state invalid drop
}; }`

func benchCustomers(b *testing.B, pps int, defence string) {
	n := newDefended(b, defence)
	arrived := func() float64 {
		var links []struct {
			Stats64 struct{ RX struct{ Packets float64 } }
		}
		must(b, json.Unmarshal([]byte(n.Bank.Run(b, "ip", "-j", "-s", "link", "show", "dev", n.Bank.Interface)), &links))
		return links[0].Stats64.RX.Packets
	}
	const rounds = 3
	var quiet, elsewhere, served te.Result
	var ofQuiet, ofElsewhere, rates []float64
	p99 := func(r te.Result) float64 { return float64(r.Quantile(0.99)) }
	for range rounds {
		q := visitBank(b, n)
		stop := floodFrom(b, n, "away", pps)
		e := visitBank(b, n)
		stop()
		stop = floodFrom(b, n, "bank", pps)
		before, start := arrived(), time.Now()
		r := visitBank(b, n)
		rates = append(rates, (arrived()-before)/time.Since(start).Seconds()/1e6)
		stop()
		ofQuiet, ofElsewhere = append(ofQuiet, p99(r)/p99(q)), append(ofElsewhere, p99(r)/p99(e))
		quiet.Add(q)
		elsewhere.Add(e)
		served.Add(r)
	}
	for b.Loop() {
	}
	b.ReportMetric(100*float64(served.OK)/float64(served.OK+served.Failed), "%served")
	b.ReportMetric(float64(quiet.Quantile(0.99).Microseconds())/1000, "ms-p99-quiet")
	b.ReportMetric(float64(elsewhere.Quantile(0.99).Microseconds())/1000, "ms-p99-elsewhere")
	b.ReportMetric(float64(served.Quantile(0.5).Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(served.Quantile(0.99).Microseconds())/1000, "ms-p99")
	b.ReportMetric(median(ofQuiet), "p99-to-quiet")
	b.ReportMetric(median(ofElsewhere), "p99-to-elsewhere")
	b.ReportMetric(median(rates), "Mpps-arrived") // the rest found the veth's queue full
	b.ReportMetric(0, "ns/op")
}

// visitBank has 2,500 customers come, in a process of their own: to go from one network namespace to another takes a thread longer than to
// connect.
func visitBank(b *testing.B, n *te.BankNet) (r te.Result) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "visits")
	cmd := n.Customer.Command(b.Context(), os.Args[0], "-test.run=^TestVisits$")
	cmd.Env = append(os.Environ(), "WEIR_VISIT="+n.Bank.Addr(bankPort).String(), "WEIR_VISITS="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(path)
	must(b, err)
	must(b, json.Unmarshal(raw, &r))
	return r
}

// TestVisits is BenchmarkCustomers' other process, and no test without it.
func TestVisits(t *testing.T) {
	target, err := netip.ParseAddrPort(os.Getenv("WEIR_VISIT"))
	if err != nil {
		return
	}
	raw, err := json.Marshal(te.Connects(t, te.Local(), te.ConnectOptions{Target: target, N: 2500, Every: time.Second / 500,
		For: 20 * time.Second, Path: "/"})) // a defence that fails isn't waited for
	must(t, err)
	must(t, os.WriteFile(os.Getenv("WEIR_VISITS"), raw, 0o600))
}

// receiver is the core that receives all packets.
const receiver = 0

// steer has one core receive what customers send, as a network card's queue has it: else a veth's packets are received by whatever core
// sends one while none are being received, and a flood's generator, which is on another, goes on without waiting for them. This process
// and those that it begins keep to the other cores.
func steer(b *testing.B, n *te.BankNet) {
	b.Helper()
	n.Switch.Run(b, "unshare", "-m", "sh", "-c", fmt.Sprintf("mount -t sysfs sysfs /sys && echo %x >/sys/class/net/customer/queues/rx-0/rps_cpus", 1<<receiver))
	var all unix.CPUSet
	must(b, unix.SchedGetaffinity(0, &all))
	others := all
	if others.Clear(receiver); others.Count() == 0 {
		b.Fatal("needs two cores")
	}
	bind(b, others)
	b.Cleanup(func() { bind(b, all) })
}

// bind binds this process's threads to cores.
func bind(b *testing.B, cores unix.CPUSet) {
	b.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	must(b, err)
	for _, e := range threads {
		tid, err := strconv.Atoi(e.Name())
		must(b, err)
		if err := unix.SchedSetaffinity(tid, &cores); err != nil && !errors.Is(err, unix.ESRCH) {
			b.Fatal(err)
		}
	}
}

// BenchmarkBulk moves 100 MB each way in a connection made under challenge, as parts of the rate without a flood, and of that while
// as much is sent elsewhere.
//
//	go test -run '^$' -bench Bulk -benchtime 5x ./pkg/datapath
func BenchmarkBulk(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for _, pps := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("flood=%dkpps", pps/1000), func(b *testing.B) { benchBulk(b, pps) })
	}
}

func benchBulk(b *testing.B, pps int) {
	n := newDefended(b, "weir")
	move := func() float64 {
		client := &http.Client{Transport: &http.Transport{DialContext: n.Customer.Dial, DisableKeepAlives: true}}
		start := time.Now()
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			r, err := http.NewRequestWithContext(b.Context(), method, "http://"+n.Bank.Addr(bankPort).String()+"/bulk", nil)
			must(b, err)
			if method == http.MethodPut {
				r.Body = io.NopCloser(io.LimitReader(zeros{}, bulkBytes))
			}
			response, err := client.Do(r)
			must(b, err)
			_, err = io.Copy(io.Discard, response.Body)
			must(b, errors.Join(err, response.Body.Close()))
		}
		return 2 * bulkBytes / 1e6 / time.Since(start).Seconds()
	}
	move()
	var rates, ofQuiet, ofElsewhere []float64
	for b.Loop() {
		quiet := move()
		stop := floodFrom(b, n, "away", pps)
		elsewhere := move()
		stop()
		stop = floodFrom(b, n, "bank", pps)
		rate := move()
		stop()
		rates, ofQuiet, ofElsewhere = append(rates, rate), append(ofQuiet, rate/quiet), append(ofElsewhere, rate/elsewhere)
	}
	b.ReportMetric(median(rates), "MB/s")
	b.ReportMetric(median(ofQuiet), "of-quiet")
	b.ReportMetric(median(ofElsewhere), "of-elsewhere")
	b.ReportMetric(0, "ns/op")
}

// zeros are as many as are read.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// newDefended makes a bank with a web server, and an interface of the switch, away, whose other end drops all.
func newDefended(b *testing.B, defence string) *te.BankNet {
	b.Helper()
	n := te.Bank(b)
	steer(b, n)
	if defence != "weir" { // live frames come only to a veth that has an XDP program
		n.Bank.Do(b, func() {
			attach := func(name string) (*flood.Sink, error) { return flood.NewSink(name, true) }
			if defence == "oracle" {
				attach = flood.NewOracle
			}
			sink, err := attach(n.Bank.Interface)
			must(b, err)
			b.Cleanup(func() { must(b, sink.Close()) })
		})
	}
	switch defence {
	case "weir":
		dir := te.PinDir(b)
		n.Bank.Do(b, func() {
			a, err := Attach(Options{Interface: n.Bank.Interface, BPFFS: dir, Limit: DefaultLimit, Sources: DefaultSources, Version: "bench"})
			must(b, err)
			b.Cleanup(func() { must(b, a.Close()) })
			s := NewSwitch(dir, n.Bank.Interface)
			must(b, s.Enable(Limit{Rate: 1000, Burst: 1000}, time.Hour)) // the customers' one address
			must(b, s.Challenge(ChallengePolicy{When: ChallengeAuto, Unverified: DefaultUnverified}))
		})
	case "synproxy":
		n.Bank.Run(b, "nft", synproxy)
		n.Bank.Sysctl(b, "net/netfilter/nf_conntrack_tcp_loose", "0")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /bulk", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, zeros{}, bulkBytes) })
	mux.HandleFunc("PUT /bulk", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: te.ConnectTimeout}
	l := n.Bank.Listen(b, n.Bank.Addr(bankPort))
	go func() { _ = server.Serve(l) }()
	b.Cleanup(func() { server.Close() })

	n.Switch.Run(b, "ip", "link", "add", "idle", "up", "type", "veth", "peer", "name", "other")
	n.Switch.Run(b, "ip", "link", "add", "away", "up", "type", "veth", "peer", "name", "drop")
	n.Switch.Run(b, "ip", "link", "set", "drop", "up")
	n.Switch.Do(b, func() {
		sink, err := flood.NewSink("drop", false)
		must(b, err)
		b.Cleanup(func() { must(b, sink.Close()) })
	})
	return n
}

// floodFrom floods by an interface of the switch until it is stopped.
func floodFrom(b *testing.B, n *te.BankNet, iface string, pps int) (stop func()) {
	b.Helper()
	var f *flood.Flood
	n.Switch.Do(b, func() {
		var err error
		f, err = flood.New(flood.Options{Interface: iface, Idle: "idle", Source: n.Attacker.MAC, Destination: n.Bank.MAC,
			Target: netip.AddrPortFrom(n.Bank.IPv4, bankPort), FirstSource: n.Attacker.IPv4})
		must(b, err)
	})
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { n.Switch.Do(b, func() { te.OnCPU(b, receiver, func() { keepUp(b, f, pps, end) }) }) })
	time.Sleep(500 * time.Millisecond)
	return func() {
		close(end)
		wg.Wait()
		must(b, f.Close())
	}
}

// keepUp sends so many packets a second, or as many as go.
func keepUp(b *testing.B, f *flood.Flood, pps int, end <-chan struct{}) {
	const frames = 2000
	start := time.Now()
	for sent := 0; ; {
		select {
		case <-end:
			return
		default:
		}
		if pps > 0 && float64(sent) > float64(pps)*time.Since(start).Seconds() {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		if _, err := f.Send(frames); err != nil {
			b.Error(err)
			return
		}
		sent += frames
	}
}
