package datapath

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// BenchmarkCustomers opens 500 connections a second with a request on each, undisturbed and while SYNs from random sources come at
// 1 Mpps and at full speed, under this challenge, the kernel's own cookies and nftables' synproxy, and under an oracle. The generator takes a core of the
// same machine: to tell its share, their p99 is compared with that while it sends elsewhere, into a bare drop, too.
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
	// The generator's long system calls would keep one of two of the scheduler's places from the customers for milliseconds.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	n := newDefended(b, defence)
	arrived := func() float64 {
		var links []struct {
			Stats64 struct{ RX struct{ Packets float64 } }
		}
		must(b, json.Unmarshal([]byte(n.Bank.Run(b, "ip", "-j", "-s", "link", "show", "dev", n.Bank.Interface)), &links))
		return links[0].Stats64.RX.Packets
	}
	visit := func() te.Result {
		const clients = 10
		return te.Connects(b, n.Customer, te.ConnectOptions{Target: n.Bank.Addr(bankPort), N: 2500, Concurrency: clients,
			Pause: clients * time.Second / 500, For: 20 * time.Second, Path: "/"}) // a defence that fails isn't waited for
	}
	quiet := visit()
	stop := floodFrom(b, n, "away", pps)
	elsewhere := visit()
	stop()

	before, start := arrived(), time.Now()
	stop = floodFrom(b, n, "bank", pps)
	var r te.Result
	for b.Loop() {
		r = visit()
	}
	stop()
	b.ReportMetric(100*float64(r.OK)/float64(r.OK+r.Failed), "%served")
	b.ReportMetric(float64(r.Quantile(0.5).Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(r.Quantile(0.99).Microseconds())/1000, "ms-p99")
	b.ReportMetric(float64(r.Quantile(0.99))/float64(quiet.Quantile(0.99)), "p99-to-quiet")
	b.ReportMetric(float64(r.Quantile(0.99))/float64(elsewhere.Quantile(0.99)), "p99-to-elsewhere")
	b.ReportMetric((arrived()-before)/time.Since(start).Seconds()/1e6, "Mpps-arrived") // the rest found the veth's queue full
	b.ReportMetric(0, "ns/op")
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
	wg.Go(func() { n.Switch.Do(b, func() { keepUp(b, f, pps, end) }) })
	time.Sleep(500 * time.Millisecond)
	return func() {
		close(end)
		wg.Wait()
		must(b, f.Close())
	}
}

// keepUp sends so many packets a second, or as many as go.
func keepUp(b *testing.B, f *flood.Flood, pps int, end <-chan struct{}) {
	frames := uint32(20_000)
	if pps > 0 {
		frames = 500 // a longer burst would keep the customers from its core
	}
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
		sent += int(frames)
	}
}
