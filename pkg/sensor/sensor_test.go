package sensor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// in runs a test in a bubble where time passes only when all wait, and half a tick after the sensor's.
func in(t *testing.T, f func(*bench)) {
	synctest.Test(t, func(t *testing.T) { f(newBench(t)) })
}

// until waits until a time since the sensor's start, half a tick late so that the tick's work is done.
func until(d time.Duration) {
	time.Sleep(d + sampleEvery/2 - time.Since(begun))
	synctest.Wait()
}

func times(all []sent) string {
	var at []string
	for _, s := range all {
		at = append(at, s.at.String())
	}
	return strings.Join(at, " ")
}

func expectTimes(t *testing.T, name string, got []sent, want string) {
	t.Helper()
	if times(got) != want {
		t.Errorf("%s at %s, want %s", name, times(got), want)
	}
}

func TestRegularReports(t *testing.T) {
	in(t, func(b *bench) {
		b.datapath.syns(1e6) // adopted
		b.run()
		until(2 * time.Second)
		b.datapath.syns(482)
		until(12 * time.Second)
		b.end()

		for _, topic := range []string{"metrics/cpu", "metrics/ram", "metrics/network"} {
			got := b.bus.on(topic)
			expectTimes(t, topic, got, "5s 10s")
			for _, s := range got {
				if s.Retain || s.Delivery != bus.BestEffort {
					t.Errorf("%s: retained %v, delivery %v", topic, s.Retain, s.Delivery)
				}
			}
		}
		if got := string(b.bus.on("metrics/cpu")[0].Payload); got != `{"cpu_usage":50.12,"timestamp":946684805}` {
			t.Error(got)
		}
		n := b.networks()
		if n[0].SYNPacketCount != 482 || n[0].Early || n[0].Rates["syn"].PacketsPerSecond != 96.4 || n[0].IntervalSeconds != 5 {
			t.Errorf("first report %+v", n[0])
		}
		if n[1].SYNPacketCount != 0 || n[1].Rates["syn"].PacketsPerSecond != 0 || n[1].ActiveTCPConnections != 7 || n[1].TCP.ListenDrops != 1 {
			t.Errorf("second report %+v", n[1])
		}
	})
}

func TestEarlyReport(t *testing.T) {
	in(t, func(b *bench) {
		b.run()
		until(2 * time.Second)
		b.datapath.syns(700)
		until(3 * time.Second)
		b.datapath.syns(1) // crosses, and is seen at the next tick
		until(9 * time.Second)
		b.datapath.syns(2000) // crosses again, since the first ones are out of the window
		until(10 * time.Second)
		b.end()

		expectTimes(t, "reports", b.bus.on("metrics/network"), "3.1s 5s 9.1s 10s")
		expectTimes(t, "CPU", b.bus.on("metrics/cpu"), "5s 10s")
		var early []bool
		var intervals, offered []float64
		for _, n := range b.networks() {
			early = append(early, n.Early)
			intervals = append(intervals, n.IntervalSeconds)
			offered = append(offered, n.Rates["syn"].PacketsPerSecond*n.IntervalSeconds)
		}
		if !slices.Equal(early, []bool{true, false, true, false}) || !slices.Equal(intervals, []float64{3.1, 1.9, 4.1, 0.9}) {
			t.Errorf("early %v, intervals %v", early, intervals)
		}
		for i, want := range []float64{701, 0, 2000, 0} { // each SYN in one report's rates
			if diff := offered[i] - want; diff > 0.1 || diff < -0.1 {
				t.Errorf("report %d has %v SYNs in its rates, want %v", i, offered[i], want)
			}
		}
	})
}

func TestEarlyReportInARegularOne(t *testing.T) {
	in(t, func(b *bench) {
		b.run()
		until(4900 * time.Millisecond)
		b.datapath.syns(5000)
		until(7 * time.Second)
		b.end()
		expectTimes(t, "reports", b.bus.on("metrics/network"), "5s")
		if n := b.networks()[0]; !n.Early || n.SYNPacketCount != 5000 {
			t.Errorf("%+v", n)
		}
	})
}

func TestBrokerAway(t *testing.T) {
	in(t, func(b *bench) {
		b.bus.away = true
		b.run()
		until(time.Second)
		b.datapath.syns(1000)
		until(7 * time.Second)
		b.datapath.syns(3000) // crosses again while away
		until(8300 * time.Millisecond)
		b.bus.set(func(b *fakeBus) { b.away = false })
		until(10 * time.Second)
		b.end()

		// The early report is tried again each second.
		expectTimes(t, "reports", b.bus.on("metrics/network"), "9.1s 10s")
		if n := b.networks()[0]; !n.Early || n.SYNPacketCount != 3000 {
			t.Errorf("first report once the broker is there %+v", n)
		}
		expectTimes(t, "presence", b.bus.on("status/sensor"), "8.4s 10.05s")
		if strings.Contains(b.log.String(), "metrics lost") {
			t.Errorf("the bus has complained, the sensor must not: %s", b.log)
		}
	})
}

func TestStuckNetworkDoesNotStopSampling(t *testing.T) {
	in(t, func(b *bench) {
		b.bus.stuck = true
		b.run()
		until(5 * time.Minute)
		b.datapath.mu.Lock()
		asked := len(b.datapath.asked)
		b.datapath.mu.Unlock()
		if asked < 290 {
			t.Errorf("%d samples of the top sources in 5 min", asked)
		}
		before := time.Now()
		b.end()
		if took := time.Since(before); took > time.Second {
			t.Errorf("took %v to end", took)
		}
		if n := strings.Count(b.log.String(), "metrics lost"); n == 0 || n > 10 {
			t.Errorf("%d lines of log: %s", n, b.log)
		}
	})
}

func TestPresence(t *testing.T) {
	in(t, func(b *bench) {
		b.run()
		until(time.Second)
		b.bus.hear(`{"state":"offline"}`) // the will of a connection that was lost
		until(2 * time.Second)
		b.bus.hear(`{"state":"online"}`)
		b.bus.hear("nonsense")
		b.bus.set(func(b *fakeBus) { b.away = true })
		until(3 * time.Second)
		b.bus.set(func(b *fakeBus) { b.away = false })
		until(4 * time.Second)
		b.end()

		got := b.bus.on("status/sensor")
		expectTimes(t, "presence", got, "100ms 1.1s 3.1s 4.05s")
		for i, s := range got {
			p, err := wire.DecodePresence(s.Payload)
			want := wire.Presence{State: wire.Online, Timestamp: p.Timestamp, Version: "v1", Host: "bank", Interface: "eth0", Tier: "xdp-native"}
			if i == len(got)-1 {
				want.State = wire.Offline
			}
			if err != nil || p != want || !s.Retain || s.Delivery != bus.Eventually {
				t.Errorf("%+v, %v, retained %v, delivery %v", p, err, s.Retain, s.Delivery)
			}
		}
	})
	will := Will(wire.DefaultRoot, "")
	if will.Topic != "<103795587>/bank_server/status/sensor" || string(will.Payload) != `{"state":"offline","will":true}` || !will.Retain {
		t.Errorf("%s %s, retained %v", will.Topic, will.Payload, will.Retain)
	}
}

func TestUnloadedUnderTheSensor(t *testing.T) {
	in(t, func(b *bench) {
		b.run()
		until(time.Second)
		b.datapath.fail(fmt.Errorf("%w from eth0: start weir again", datapath.ErrDetached))
		err := <-b.ended
		if !errors.Is(err, datapath.ErrDetached) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ended with %v", err)
		}
		got := b.bus.on("status/sensor")
		if last := string(got[len(got)-1].Payload); !strings.Contains(last, `"offline"`) {
			t.Errorf("last presence %s", last)
		}
		b.stop()
	})
}

func TestHostErrorsLeaveTheOthersGoing(t *testing.T) {
	in(t, func(b *bench) {
		b.run()
		until(5 * time.Second)
		for _, what := range []string{"cpu", "ram", "tcp"} {
			b.host.fail(what, errFake)
		}
		until(60 * time.Second)
		b.host.fail("cpu", nil)
		b.host.fail("tcp", nil)
		until(65 * time.Second)
		b.end()

		expectTimes(t, "CPU", b.bus.on("metrics/cpu"), "5s 1m5s")
		expectTimes(t, "RAM", b.bus.on("metrics/ram"), "5s")
		n := b.networks()
		if len(n) != 13 {
			t.Fatalf("%d reports", len(n))
		}
		if n[1].TCP != nil || n[1].ActiveTCPConnections != 7 || n[12].TCP == nil {
			t.Errorf("connections must stay as they were: %+v, then %+v", n[1], n[12])
		}
		if lines := strings.Count(b.log.String(), errFake.Error()); lines < 3 || lines > 6 {
			t.Errorf("%d lines of log: %s", lines, b.log)
		}
	})
}

func TestDatapathGoneAtTheStart(t *testing.T) {
	d := &fakeDatapath{err: datapath.ErrDetached}
	s, err := New(DefaultConfig(), d, &fakeHost{}, &fakeCard{}, &fakeBus{}, silent)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), func() { t.Error("ready") }); !errors.Is(err, datapath.ErrDetached) {
		t.Error(err)
	}
	if _, err := New(Config{}, d, &fakeHost{}, &fakeCard{}, &fakeBus{}, silent); err == nil {
		t.Error("an empty configuration is accepted")
	}
}

func TestTopSourcesAreAskedForEachSecond(t *testing.T) {
	in(t, func(b *bench) {
		b.run()
		until(7 * time.Second)
		b.end()
		for i, at := range b.datapath.asked {
			if want := begun.Add(time.Duration(i) * time.Second); !at.Equal(want) {
				t.Errorf("call %d at %v", i, at.Sub(begun))
			}
		}
	})
}

// quiet is a sensor between two reports.
func quiet(t testing.TB) *Sensor {
	cfg := DefaultConfig()
	cfg.TopSources = 0
	s, err := New(cfg, &fakeDatapath{}, &fakeHost{}, &fakeCard{}, &fakeBus{away: true}, silent)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.begin(start); err != nil {
		t.Fatal(err)
	}
	s.next = start.AddDate(100, 0, 0)
	return s
}

func TestSamplingDoesNotAllocate(t *testing.T) {
	s, now := quiet(t), start
	allocs := testing.AllocsPerRun(1000, func() {
		now = now.Add(sampleEvery)
		if err := s.sample(now); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations per sample", allocs)
	}
}

// Ten samples a second: 10 µs each would be 0.01 % of a core.
func BenchmarkSample(b *testing.B) {
	s, now := quiet(b), start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(sampleEvery)
		if err := s.sample(now); err != nil {
			b.Fatal(err)
		}
	}
}
