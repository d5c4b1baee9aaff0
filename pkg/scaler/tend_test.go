package scaler

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestOthersScale: their number stays.
func TestOthersScale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		others := fmt.Errorf("%w, to 7", ErrOthers)
		b := &fakeBackend{size: 7, fail: map[int]error{8: others}}
		cfg := testConfig(t)
		cfg.Max = 10
		s := New(cfg, b, silent)
		expect(t, "on the way", s.Scale(t.Context(), Order{By: 1}), 7, "somebody else scales it, to 7; 7 servers found, and left as they are")
		if fmt.Sprint(b.asked) != "[8]" || s.pending() != nil {
			t.Errorf("asked for %v, pending %v", b.asked, s.pending())
		}
		b.asked, b.fail = nil, map[int]error{8: errors.New("no luck"), 7: others}
		expect(t, "on the way back", s.Scale(t.Context(), Order{By: 1}), 7, "no luck; somebody else scales it, to 7; 7 servers found")
		if fmt.Sprint(b.asked) != "[8 7]" || s.pending() != nil {
			t.Errorf("asked for %v, pending %v", b.asked, s.pending())
		}
	})
}

// TestCommandDuringTheFirstCount, which must not be followed by an older number.
func TestCommandDuringTheFirstCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(testConfig(t), &fakeBackend{size: 1, slow: time.Second}, silent)
		ctx, cancel := context.WithCancel(t.Context())
		go s.Tend(ctx, func(o Outcome) { t.Errorf("told: %+v", o) })
		synctest.Wait()
		expect(t, "up", s.Scale(t.Context(), Order{By: 2, Sender: Sender{Origin: "monitor"}}), 3, "")
		time.Sleep(time.Minute)
		o := s.Scale(t.Context(), Order{By: -1, Sender: Sender{Origin: "ctl"}})
		expect(t, "down", o, 2, "")
		if got := fmt.Sprint(o.Servers.Added); got != "map[monitor:1]" {
			t.Errorf("whose: %s", got)
		}
		cancel()
		synctest.Wait()
	})
}
