package controller

import (
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
)

var (
	anyLimit = datapath.Limit{Rate: 100, Burst: 200}
	began    = time.Unix(1_700_000_000, 0)
)

func on(left time.Duration, dropped uint64) State {
	return State{On: true, Limit: anyLimit, Lease: left, Dropped: dropped}
}

func off(dropped uint64) State { return State{Limit: anyLimit, Dropped: dropped} }

func TestLeaseLook(t *testing.T) {
	const lease = 10 * time.Minute
	enabled := func(fixed bool) func(*Lease) {
		return func(l *Lease) { l.Enabled(began, "monitor", anyLimit, lease, fixed) }
	}
	counted := func(before func(*Lease), s State) func(*Lease) {
		return func(l *Lease) { before(l); l.Look(began, s) }
	}
	nothing := func(*Lease) {}
	for _, c := range []struct {
		name   string
		before func(*Lease)
		after  time.Duration
		see    State
		want   Finding
		on     bool
	}{
		{"off stays off", nothing, 0, off(0), AsBefore, false},
		{"an old lease is off", nothing, 0, on(0, 0), AsBefore, false},
		{"found on", nothing, 0, on(time.Minute, 9), FoundOn, true},
		{"the first look only counts", enabled(false), time.Second, on(lease, 9), AsBefore, true},
		{"the flood goes on", counted(enabled(false), on(lease, 9)), time.Minute, on(lease, 10), FloodGoesOn, true},
		{"nothing is dropped", counted(enabled(false), on(lease, 9)), time.Minute, on(lease, 9), AsBefore, true},
		{"a fixed end isn't renewed", counted(enabled(true), on(lease, 9)), time.Minute, on(lease, 10), AsBefore, true},
		{"counters begin anew", counted(enabled(false), on(lease, 9)), time.Minute, on(lease, 3), AsBefore, true},
		{"the lease ended, the mode stays", enabled(false), lease, on(0, 9), LeaseEnded, false},
		{"the lease ended", enabled(false), lease, off(9), LeaseEnded, false},
		{"the kernel's clock is a little ahead", enabled(false), lease - 100*time.Millisecond, on(0, 9), LeaseEnded, false},
		{"somebody else switched it off", enabled(false), time.Minute, off(9), FoundOff, false},
		{"adopted and flooded", counted(nothing, on(time.Minute, 9)), time.Second, on(time.Minute, 10), FloodGoesOn, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l Lease
			c.before(&l)
			if got := l.Look(began.Add(c.after), c.see); got != c.want || l.On != c.on {
				t.Errorf("found %v, on %v, want %v, %v", got, l.On, c.want, c.on)
			}
		})
	}
}

func TestLeaseIsLookedAtBeforeItEnds(t *testing.T) {
	const every = 15 * time.Second
	for _, c := range []struct {
		left, want time.Duration
	}{
		{10 * time.Minute, every},
		{20 * time.Second, 10 * time.Second},
		{time.Second, 500 * time.Millisecond},
		{0, shortestLook},
		{-time.Hour, shortestLook},
	} {
		l := Lease{On: true, End: began.Add(c.left)}
		if got := l.NextLook(began, every).Sub(began); got != c.want {
			t.Errorf("%v left: looks after %v, want %v", c.left, got, c.want)
		}
	}
	if got := new(Lease).NextLook(began, every).Sub(began); got != every {
		t.Errorf("off: looks after %v", got)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Config){
		"rate":         func(c *Config) { c.Limit.Rate = 0 },
		"burst":        func(c *Config) { c.Limit.Burst = 1e9 },
		"lease":        func(c *Config) { c.Lease = 48 * time.Hour },
		"renew":        func(c *Config) { c.RenewEvery = c.Lease },
		"root":         func(c *Config) { c.Root.Server = "#" },
		"public topic": func(c *Config) { c.Root.Org = "public" },
	} {
		cfg := DefaultConfig()
		spoil(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
