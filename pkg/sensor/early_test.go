package sensor

import (
	"testing"
	"time"
)

func TestEarly(t *testing.T) {
	type step struct {
		ms   int // since start
		syns uint64
		due  bool
	}
	for _, c := range []struct {
		name  string
		level uint64
		steps []step
	}{
		{"never", 0, []step{{0, 0, false}, {100, 1e9, false}}},
		{"at the level is not over it", 700, []step{{0, 700, false}, {100, 701, true}}},
		{"once for a crossing", 700, []step{{0, 701, true}, {100, 5000, false}, {60_000, 5000, false}}},
		{"at the level is not below it", 700, []step{{0, 701, true}, {2000, 700, false}, {2100, 800, false}}},
		{"again after it was below", 700, []step{{0, 701, true}, {2000, 699, false}, {2100, 701, true}}},
		{"once a second at most, then at once", 700,
			[]step{{0, 701, true}, {300, 699, false}, {400, 701, false}, {900, 701, false}, {1000, 701, true}, {1100, 701, false}}},
		{"gone by then", 700, []step{{0, 701, true}, {300, 699, false}, {400, 701, false}, {900, 699, false}, {1000, 699, false}}},
	} {
		e := early{level: c.level}
		for _, s := range c.steps {
			if got := e.due(start.Add(time.Duration(s.ms)*time.Millisecond), s.syns); got != s.due {
				t.Errorf("%s: %v at %d ms", c.name, got, s.ms)
			}
		}
	}
}

func TestEarlyMissed(t *testing.T) {
	e := early{level: 700}
	if !e.due(start, 800) {
		t.Fatal("not due")
	}
	e.missed()
	for ms, want := range map[int]bool{100: false, 900: false, 1000: true} {
		retry := e
		if got := retry.due(start.Add(time.Duration(ms)*time.Millisecond), 800); got != want {
			t.Errorf("%v after %d ms", got, ms)
		}
	}
}

func TestPresenceDue(t *testing.T) {
	var p presence
	for _, s := range []struct {
		ms                     int
		connected, denied, due bool
	}{
		{0, false, false, false},
		{100, false, true, false},
		{200, true, false, true}, // the first connect
		{300, true, false, false},
		{400, true, true, false}, // denied, but spoken a moment ago
		{1100, true, true, false},
		{1200, true, true, true},
		{1300, true, false, false},
		{1400, false, false, false},
		{1500, true, false, true}, // a reconnect is no repetition
		{9000, true, true, true},
	} {
		if got := p.due(start.Add(time.Duration(s.ms)*time.Millisecond), s.connected, s.denied); got != s.due {
			t.Errorf("%v at %d ms", got, s.ms)
		}
	}
}
