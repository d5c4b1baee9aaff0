package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// BenchmarkScrape is what Prometheus waits for, and gets, once a million sources were seen.
func BenchmarkScrape(b *testing.B) {
	te.Tool(b, "curl")
	s := newSite(b)
	s.serve()
	s.start("up", "--metrics-listen", metricsAddr)
	r := s.reader()
	const sources = 1_000_000
	f := te.Flood(b, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Sources: te.RandomSources})
	te.Eventually(b, time.Minute, "a million SYNs of random sources", func() bool {
		c, err := r.Counters()
		return err == nil && c.Offered(datapath.ClassSYN).Packets > sources
	})
	f.Stop()
	const each = 20
	var times []float64
	size := 0.0
	for b.Loop() {
		for range each {
			out, err := s.Bank.Command(b.Context(), "curl", "-s", "-o", "/dev/null", "-w", "%{time_starttransfer} %{time_connect} %{size_download}",
				"http://"+metricsAddr+"/metrics").Output()
			must(b, err)
			fields := strings.Fields(string(out))
			whole, _ := strconv.ParseFloat(fields[0], 64)
			connect, _ := strconv.ParseFloat(fields[1], 64)
			size, _ = strconv.ParseFloat(fields[2], 64)
			times = append(times, 1000*(whole-connect))
		}
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2], "ms-scrape")
	b.ReportMetric(times[len(times)-1], "ms-worst")
	b.ReportMetric(size/1000, "kB")
	b.ReportMetric(0, "ns/op")
}
