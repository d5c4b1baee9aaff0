package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// BenchmarkReaction measures the time from the first packets of a flood to the first one dropped: sensor, broker, monitor,
// broker, controller, control map. Each round begins with the alert cleared and the limit off.
func BenchmarkReaction(b *testing.B) {
	s := newSite(b)
	s.start("up", "--sensor-interval", "1s") // of regular reports, so that alerts clear sooner
	o := te.Observe(b, s.Bank, brokerAddr, root+"/alerts")
	r := s.reader()
	var all []time.Duration
	for b.Loop() {
		offeredBefore, dropsBefore := counters(b, r)
		f := te.Flood(b, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Duration: 10 * time.Second})
		var first time.Time
		for {
			offered, drops := counters(b, r)
			if first.IsZero() && offered > offeredBefore+10 {
				first = time.Now()
			}
			if drops > dropsBefore {
				break
			}
			time.Sleep(time.Millisecond)
		}
		all = append(all, time.Since(first))
		f.Stop()
		end := time.Now()
		o.Await(b, time.Minute, "cleared alert", since(end, is("alerts", `"cleared"`)))
		s.mustWeir("ctl disable-rate-limiting")
		time.Sleep(50 * time.Millisecond) // a jiffy and more
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2])/1e6, "ms-first")
	b.ReportMetric(float64(all[len(all)-1])/1e6, "ms-worst")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRest measures what a sensor costs while nothing happens.
func BenchmarkRest(b *testing.B) {
	s := newSite(b)
	s.start("broker")
	p := s.start("sensor")
	const span = 30 * time.Second
	for b.Loop() {
		before := cpuTime(b, p.PID())
		time.Sleep(span)
		b.ReportMetric(100*(cpuTime(b, p.PID())-before).Seconds()/span.Seconds(), "%core")
	}
	b.ReportMetric(float64(residentKB(b, p.PID()))/1024, "MB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAllAtRest is the same of weir up, with all its components and the page closed.
func BenchmarkAllAtRest(b *testing.B) {
	s := newSite(b)
	p := s.start("up", "--metrics-listen", metricsAddr)
	time.Sleep(10 * time.Second) // what the start has begun ends
	const span = 60 * time.Second
	for b.Loop() {
		before := cpuTime(b, p.PID())
		time.Sleep(span)
		b.ReportMetric(100*(cpuTime(b, p.PID())-before).Seconds()/span.Seconds(), "%core")
	}
	b.ReportMetric(float64(residentKB(b, p.PID()))/1024, "MB")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is utime and stime of proc(5), in USER_HZ, which is 100 on every Linux.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	utime, _ := strconv.Atoi(fields[11])
	stime, _ := strconv.Atoi(fields[12])
	return time.Duration(utime+stime) * 10 * time.Millisecond
}

func residentKB(b *testing.B, pid int) int {
	b.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return kb
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
