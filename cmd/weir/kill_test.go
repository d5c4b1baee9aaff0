package main

import (
	"bytes"
	"io"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

func zeros(n int) io.Reader { return bytes.NewReader(make([]byte, n)) }

// apart is a site with each component in a process of its own, under a flood that is being held back.
type apart struct {
	*site
	broker, sensor, monitor, controller *te.Process
	flood                               *te.Flooding
	observer                            *te.Observer
}

var (
	monitorFlags    = []string{"--monitor-calm", "5s"}
	controllerFlags = []string{"--limit-lease", "4s"}
)

func newApart(t *testing.T) *apart {
	s := newSite(t)
	a := &apart{site: s}
	a.broker = s.start("broker")
	a.observer = te.Observe(t, s.Bank, brokerAddr)
	a.sensor = s.start("sensor")
	a.controller = s.start("controller", controllerFlags...)
	a.monitor = s.start("monitor", monitorFlags...)
	a.flood = te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 3000, Duration: 2 * time.Minute})
	a.observer.Await(t, patience, "limit", is("status/rate_limiting", `"success"`, `"on"`))
	r := s.reader()
	rising(t, "drops", dropped(t, r))
	return a
}

// calm ends the flood and demands that the limit goes, then that nothing is left.
func (a *apart) calm() {
	a.t.Helper()
	a.flood.Stop()
	end := time.Now()
	a.observer.Await(a.t, 40*time.Second, "limit off", since(end, is("status/rate_limiting", `"off"`)))
	a.mustWeir("unload")
	a.nothingIsLeft()
	if err := a.sensor.Wait(patience); err == nil || !bytes.Contains([]byte(a.sensor.Output()), []byte("detached")) {
		a.t.Errorf("a sensor without a datapath ended with %v: %s", err, a.sensor.Output())
	}
}

func TestKillSensor(t *testing.T) {
	a := newApart(t)
	r := a.reader()
	a.sensor.Kill()
	a.observer.Await(t, 30*time.Second, "offline", is("status/sensor", `"offline"`))
	rising(t, "counts without a sensor", offered(t, r))
	rising(t, "drops without a sensor", dropped(t, r))
	before, _ := counters(t, r)

	a.sensor = a.start("sensor")
	a.sensor.Await(t, "adopted=true", patience)
	if after, _ := counters(t, r); after < before {
		t.Errorf("%d SYNs counted before the restart, %d after", before, after)
	}
	rising(t, "drops after the restart", dropped(t, r))
	at := time.Now()
	m := a.observer.Await(t, patience, "metrics", since(at, is("metrics/network", `"enforce"`)))
	// The flood's rate, not the counts of before the restart.
	if n := decode[wire.Network](t, m); n.SYNPacketCount > 3000*5*2 {
		t.Errorf("the first metrics count %d SYNs in 5 s", n.SYNPacketCount)
	}
	a.calm()
}

func TestKillMonitor(t *testing.T) {
	a := newApart(t)
	r := a.reader()
	a.monitor.Kill()
	time.Sleep(6 * time.Second) // over the lease
	rising(t, "drops without a monitor", dropped(t, r))
	a.monitor = a.start("monitor", monitorFlags...)
	a.calm() // the new one lifts what the old one asked for
}

func TestKillController(t *testing.T) {
	a := newApart(t)
	r := a.reader()
	a.controller.Kill()
	drops := dropped(t, r)
	rising(t, "drops during the lease", drops)
	te.Eventually(t, patience, "end of the lease", func() bool {
		n := drops()
		time.Sleep(100 * time.Millisecond)
		return drops() == n
	})
	rising(t, "counts after the lease", offered(t, r))
	at := time.Now()
	a.controller = a.start("controller", controllerFlags...)
	// The monitor sees that nothing is on during its alert, and asks again.
	a.observer.Await(t, 90*time.Second, "limit again", since(at, is("status/rate_limiting", `"success"`, `"on"`)))
	rising(t, "drops after the restart", drops)
	a.calm()
}

func TestKillControllerAndRestartWithinTheLease(t *testing.T) {
	a := newApart(t)
	r := a.reader()
	a.controller.Kill()
	at := time.Now()
	a.controller = a.start("controller", controllerFlags...)
	a.observer.Await(t, patience, "adopted state", since(at, is("status/rate_limiting", `"on"`)))
	time.Sleep(6 * time.Second) // over the lease: it must be renewing
	rising(t, "drops", dropped(t, r))
	a.calm()
}

func TestKillBroker(t *testing.T) {
	a := newApart(t)
	r := a.reader()
	a.broker.Kill()
	time.Sleep(6 * time.Second) // over the lease: the controller renews it without a broker
	rising(t, "counts without a broker", offered(t, r))
	rising(t, "drops without a broker", dropped(t, r))
	at := time.Now()
	a.broker = a.start("broker")
	a.observer.Await(t, 40*time.Second, "metrics again", since(at, is("metrics/network", `"enforce"`)))
	a.observer.Await(t, 40*time.Second, "presence again", func(m te.Message) bool {
		return m.At.After(at) && is("status/sensor", `"online"`)(m)
	})
	a.calm()
}
