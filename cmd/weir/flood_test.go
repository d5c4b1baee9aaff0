package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

func TestFloodIsNoticedLimitedAndLetGo(t *testing.T) {
	s := newSite(t)
	s.serve()
	up := s.start("up", "--monitor-calm", "6s")
	o := te.Observe(t, s.Bank, brokerAddr)
	o.Await(t, patience, "presence", is("status/sensor", `"online"`, `"xdp-native"`))
	m := o.Await(t, patience, "network metrics", is("metrics/network", `"observe"`))
	if n := decode[wire.Network](t, m); n.SYNPacketCount > 20 || n.Interface != "eth0" {
		t.Errorf("metrics before the flood: %s", m.Payload)
	}
	for _, topic := range []string{"metrics/cpu", "metrics/ram"} {
		o.Await(t, patience, topic, is(topic, `"timestamp"`))
	}

	start := time.Now()
	f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 5000})
	m = o.Await(t, patience, "early report", since(start, is("metrics/network", `"early":true`)))
	if n := decode[wire.Network](t, m); n.SYNPacketCount <= 700 {
		t.Errorf("early report below the level: %s", m.Payload)
	}
	m = o.Await(t, patience, "alert", since(start, is("alerts", `"SYN packet count exceeded threshold"`, `"raised"`)))
	o.Await(t, patience, "command", since(start, is("control/command", `"enable_rate_limiting"`)))
	o.Await(t, patience, "status", since(start, is("status/rate_limiting", `"enable_rate_limiting"`, `"success"`, `"on"`)))
	r := s.reader()
	rising(t, "drops", dropped(t, r))

	if got := te.Connects(t, s.Customer, te.ConnectOptions{Target: s.Bank.Addr(80), N: 100, Concurrency: 4, Path: "/"}); got.Failed > 0 {
		t.Errorf("a customer during the flood: %v", got)
	}
	m = o.Await(t, patience, "metrics with drops", since(time.Now(), is("metrics/network", `"enforce"`, `"source_rate"`)))
	if n := decode[wire.Network](t, m); len(n.TopSources) == 0 || n.TopSources[0].Source != s.Attacker.IPv4.String() && n.TopSources[0].Source != s.Attacker.IPv4.String()+"/32" {
		t.Errorf("top source isn't the attacker: %s", m.Payload)
	}

	f.Stop()
	end := time.Now()
	o.Await(t, 30*time.Second, "disable", since(end, is("control/command", `"disable_rate_limiting"`)))
	o.Await(t, patience, "status off", since(end, is("status/rate_limiting", `"disable_rate_limiting"`, `"success"`, `"off"`)))
	o.Await(t, 30*time.Second, "cleared alert", since(end, is("alerts", `"SYN packet count`, `"cleared"`)))

	up.Stop()
	if err := up.Wait(time.Second); err != nil {
		t.Errorf("weir up ended with %v", err)
	}
	if out := s.mustWeir("unload"); out != "unloaded from eth0\n" {
		t.Errorf("unload says %q", out)
	}
	s.nothingIsLeft()
}

// TestInnocentSourceDuringFloods: who keeps to the limit is never refused, whoever else floods.
func TestInnocentSourceDuringFloods(t *testing.T) {
	for _, x := range []struct {
		name    string
		sources int
		rate    int // SYNs per second and source; the flood's sources send more, where it matters
	}{{"one", 0, 100}, {"1000", 1000, 25}, {"random", te.RandomSources, 100}} {
		t.Run(x.name, func(t *testing.T) {
			s := newSite(t)
			s.serve()
			s.start("up")
			o := te.Observe(t, s.Bank, brokerAddr, root+"/status/#")
			s.order(o, fmt.Sprintf(`{"command": "enable_rate_limiting", "rate": %d, "burst": %d}`, x.rate, 2*x.rate), `"success"`)
			f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Sources: x.sources})
			r := s.reader()
			te.Eventually(t, patience, "flood", func() bool { n, _ := counters(t, r); return n > 5000 })

			// 500 connections from one address, at four fifths of its rate.
			const clients = 4
			got := te.Connects(t, s.Customer, te.ConnectOptions{
				Target: s.Bank.Addr(80), N: 500, Concurrency: clients,
				Pause: clients * time.Second * 5 / 4 / time.Duration(x.rate),
			})
			if got.Failed > 0 || got.OK != 500 {
				t.Errorf("%v", got)
			}
			seen, stopped := counters(t, r)
			t.Logf("%v while %d SYNs came and %d were dropped or challenged", got, seen, stopped)
			if stopped < seen*9/10 {
				t.Errorf("only %d of %d SYNs of a flood were dropped or challenged", stopped, seen)
			}
			f.Stop()
		})
	}
}

func TestToggleByHand(t *testing.T) {
	s := newSite(t)
	s.start("up")
	o := te.Observe(t, s.Bank, brokerAddr)
	for range 2 { // enabling twice is success twice
		got := s.order(o, `{"command": "enable_rate_limiting"}`, `"enable_rate_limiting"`)
		if got.Status != wire.Success || got.State != wire.StateOn || got.Rate != 100 || got.Burst != 200 || got.Until == 0 {
			t.Errorf("enable: %+v", got)
		}
	}
	got := s.order(o, `{"command": "enable_rate_limiting", "id": "7", "rate": 50, "burst": 60, "ttl_seconds": 600, "reason": "drill"}`, `"id":"7"`)
	if got.Status != wire.Success || got.Rate != 50 || got.Burst != 60 || got.Until < float64(time.Now().Add(9*time.Minute).Unix()) {
		t.Errorf("enable with everything: %+v", got)
	}
	var shown status
	if err := json.Unmarshal([]byte(s.mustWeir("status", "--json")), &shown); err != nil || shown.Mode != "enforce" || shown.Rate != 50 {
		t.Errorf("weir status: %+v, %v", shown, err)
	}
	for range 2 {
		got := s.order(o, `{"command": "disable_rate_limiting"}`, `"disable_rate_limiting"`)
		if got.Status != wire.Success || got.State != wire.StateOff {
			t.Errorf("disable: %+v", got)
		}
	}
	for _, command := range []string{"scale_up_servers", "scale_down_servers"} {
		got := s.order(o, fmt.Sprintf(`{"command": %q}`, command), command)
		if got.Status != wire.Failure || got.Detail != "no scaler is configured" {
			t.Errorf("%s: %+v", command, got)
		}
	}
	late := te.Observe(t, s.Bank, brokerAddr, root+"/status/#")
	late.Await(t, patience, "retained status", func(m te.Message) bool {
		return m.Retained && is("status/rate_limiting", `"disable_rate_limiting"`, `"off"`)(m)
	})
}

func TestBadCommandsChangeNothing(t *testing.T) {
	s := newSite(t)
	s.start("up")
	o := te.Observe(t, s.Bank, brokerAddr)
	s.order(o, `{"command": "enable_rate_limiting", "id": "first"}`, `"first"`)
	r := s.reader()
	before, err := r.Control()
	if err != nil {
		t.Fatal(err)
	}
	for i, payload := range []string{
		`{"command": "rm_rf"}`,
		`{"command": ""}`,
		`{"command": 7}`,
		`{}`,
		`[]`,
		`null`,
		`"enable_rate_limiting"`,
		`{"command": "enable_rate_limiting"`,
		`{"command": "disable_rate_limiting"} x`,
		`{"command": "enable_rate_limiting", "command": "disable_rate_limiting"}`,
		`{"Command": "disable_rate_limiting"}`,
		`{"command": "enable_rate_limiting", "rate": 0}`,
		`{"command": "enable_rate_limiting", "rate": 1000000000000}`,
		`{"command": "enable_rate_limiting", "rate": -1}`,
		`{"command": "enable_rate_limiting", "rate": 1.5}`,
		`{"command": "enable_rate_limiting", "rate": "100"}`,
		`{"command": "enable_rate_limiting", "burst": 0}`,
		`{"command": "enable_rate_limiting", "rate": 1, "burst": 100000}`,
		`{"command": "enable_rate_limiting", "ttl_seconds": 0}`,
		`{"command": "enable_rate_limiting", "ttl_seconds": 1e300}`,
		`disable_rate_limiting`,
		"\x00\xff\xfe",
	} {
		if got := s.order(o, payload, `"failure"`); got.Detail == "" {
			t.Errorf("%d: %s: %+v", i, payload, got)
		}
	}
	// What gets no answer: a retained command, an empty one, one of a megabyte (the broker refuses its sender).
	te.Publish(t, s.Bank, brokerAddr, root+"/control/command", []byte(`{"command": "disable_rate_limiting"}`), "-r")
	te.Publish(t, s.Bank, brokerAddr, root+"/control/command", nil)
	cmd := s.Bank.Command(t.Context(), "mosquitto_pub", "-t", root+"/control/command", "-s", "-q", "1")
	cmd.Stdin = zeros(1 << 20)
	_ = cmd.Run() // refused or not

	s.order(o, `{"command": "nothing", "id": "last"}`, `"last"`)
	after, err := r.Control()
	if err != nil {
		t.Fatal(err)
	}
	if !after.Enforcing() || after.Limit != before.Limit {
		t.Errorf("control was %+v, is %+v", before, after)
	}
}
