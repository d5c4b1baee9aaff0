package main

import (
	"fmt"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// All of weir is killed, and what the embedded broker retained goes with it: an operator's limit stays the operator's, and its end fixed.
func TestAnOperatorsLimitOutlivesWeir(t *testing.T) {
	s := newSite(t)
	const ttl = 20 * time.Second // for the restart and an alert
	flags := []string{"--limit-lease", "10m"}
	const limit = `"command":"enable_rate_limiting","origin":"alice","rate":10,"burst":20`
	// killed has another start, which is to leave the limit alone in a flood.
	killed := func(up *te.Process) (*te.Process, *te.Observer, wire.Status) {
		t.Helper()
		up.Kill()
		at := time.Now()
		up = s.start("up", flags...)
		o := te.Observe(t, s.Bank, brokerAddr)
		m := o.Await(t, patience, "owner", is("status/rate_limiting", `"on"`, `"owner":"alice"`, `"rate":10,"burst":20`, "as commanded before"))
		up.Await(t, "rate limiting is on by alice: left as it is", patience)
		if c, err := s.reader().Control(); err != nil || !c.Enforcing() || c.Limit.Rate != 10 || c.Limit.Burst != 20 {
			t.Errorf("%v after the kill: %+v, %v", time.Since(at), c, err)
		}
		return up, o, decode[wire.Status](t, m)
	}

	up := s.start("up", flags...)
	was := s.order(te.Observe(t, s.Bank, brokerAddr), fmt.Sprintf(`{%s,"ttl_seconds":%d}`, limit, int(ttl.Seconds())), `"success"`, `"alice"`)
	te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 3000, Duration: 5 * time.Minute})
	up, o, now := killed(up)
	if d := now.Until - was.Until; !now.FixedEnd || d < -2 || d > 2 {
		t.Errorf("before %+v, after %+v", was, now)
	}
	o.Await(t, ttl+patience, "the end", is("status/rate_limiting", "lease ended"))
	// The alert stands: now it's the monitor's turn.
	o.Await(t, patience, "the monitor's limit", is("status/rate_limiting", `"on"`, `"owner":"monitor"`, `"rate":100`))

	s.order(o, "{"+limit+"}", `"success"`, `"alice"`)
	if _, _, now = killed(up); now.FixedEnd {
		t.Errorf("%+v", now)
	}
}
