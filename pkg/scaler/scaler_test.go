package scaler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeBackend has servers that come and go after a while.
type fakeBackend struct {
	mu    sync.Mutex
	size  int
	half  bool // something is half done
	takes time.Duration
	fail  map[int]error // by the number of servers that was asked for
	slow  time.Duration // its first count
	asked []int
}

func (b *fakeBackend) Size(context.Context) (int, error) {
	b.mu.Lock()
	size, slow := b.size, b.slow
	b.slow = 0
	b.mu.Unlock()
	time.Sleep(slow)
	return size, nil
}

func (b *fakeBackend) Resize(ctx context.Context, to int) (string, error) {
	b.mu.Lock()
	b.asked, b.half = append(b.asked, to), true
	err := b.fail[to]
	b.mu.Unlock()
	select {
	case <-time.After(b.takes):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size, b.half = to, false
	return "as asked", nil
}

var silent = slog.New(slog.DiscardHandler)

func testConfig(t *testing.T) Config {
	return Config{Min: 1, Max: 4, CoolDown: time.Minute, Within: 2 * time.Minute, File: filepath.Join(t.TempDir(), "state", "scaling.json")}
}

func expect(t *testing.T, what string, o Outcome, running int, err string) {
	t.Helper()
	got := ""
	if o.Err != nil {
		got = o.Err.Error()
	}
	if o.Servers.Running != running || err == "" && got != "" || !strings.Contains(got, err) {
		t.Errorf("%s: %d servers, error %q; want %d, %q", what, o.Servers.Running, got, running, err)
	}
}

func TestScale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBackend{size: 2, takes: 10 * time.Second}
		s := New(testConfig(t), b, silent)
		up := func(n int) Outcome { return s.Scale(t.Context(), Order{By: n, Sender: Sender{Origin: "monitor"}}) }
		o := up(1)
		expect(t, "up", o, 3, "")
		if o.Detail != "3 servers instead of 2: as asked" || o.Servers.Added["monitor"] != 1 || o.Servers.TakesSeconds != 250 {
			t.Errorf("%+v", o)
		}
		time.Sleep(20 * time.Second)
		expect(t, "soon after", up(1), 3, "wait 40s (scaling.cool-down)")
		time.Sleep(40 * time.Second)
		expect(t, "too many", up(2), 3, "2 more than 3 servers is too many: scaling.max is 4")
		expect(t, "the last", up(1), 4, "")
		time.Sleep(time.Minute)
		expect(t, "at the top", up(1), 4, "4 servers already: scaling.max is 4")
		expect(t, "far down", up(-4), 4, "scaling.min is 1")
		o = up(-3)
		expect(t, "down", o, 1, "")
		if len(o.Servers.Added) != 0 {
			t.Errorf("whose: %v", o.Servers.Added)
		}
		time.Sleep(time.Minute)
		expect(t, "at the bottom", up(-1), 1, "scaling.min is 1")
	})
}

func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBackend{size: 1, takes: time.Minute}
		s := New(testConfig(t), b, silent)
		go s.Scale(t.Context(), Order{By: 1})
		time.Sleep(7 * time.Second)
		expect(t, "meanwhile", s.Scale(t.Context(), Order{By: -1}), 1, "one at a time: scale_up_servers is under way, for 7s now")
		time.Sleep(time.Hour)
		expect(t, "after it", s.Scale(t.Context(), Order{By: 1}), 3, "")
	})
}

func TestWhatGoesWrongIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBackend{size: 2, fail: map[int]error{3: errors.New("the launcher says no")}}
		s := New(testConfig(t), b, silent)
		expect(t, "fails", s.Scale(t.Context(), Order{By: 1}), 2, "the launcher says no; undone: 2 servers as before")
		if b.half {
			t.Error("half done")
		}
		b.fail, b.takes = nil, 3*time.Minute
		expect(t, "too slow, both ways", s.Scale(t.Context(), Order{By: 1}), 0, "not done within 2m0s (scaling.within)")
	})
}

func TestUndoneLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBackend{size: 2, fail: map[int]error{3: errors.New("socket gone"), 2: errors.New("still gone")}}
		s := New(testConfig(t), b, silent)
		ctx, cancel := context.WithCancel(t.Context())
		told := make(chan Outcome, 9)
		go s.Tend(ctx, func(o Outcome) { told <- o })
		if o := <-told; o.Order != nil || o.Err != nil || o.Servers.Running != 2 || o.Detail != "2 servers found" {
			t.Errorf("start: %+v", o)
		}
		expect(t, "both go wrong", s.Scale(t.Context(), Order{By: 1, Sender: Sender{ID: "7"}}), 0, "socket gone; undoing it went wrong, too, and is tried again: still gone")
		expect(t, "meanwhile", s.Scale(t.Context(), Order{By: 1}), 0, "scale_up_servers of before isn't undone yet: socket gone")
		time.Sleep(time.Minute)
		b.mu.Lock()
		b.fail = nil
		b.mu.Unlock()
		o := <-told
		expect(t, "undone", o, 2, "socket gone; undone: 2 servers as before")
		if o.Order == nil || o.Order.ID != "7" || b.half {
			t.Errorf("%+v, half done: %v", o, b.half)
		}
		expect(t, "again", s.Scale(t.Context(), Order{By: 1}), 3, "")
		cancel()
		synctest.Wait()
	})
}

// TestKilled plays what a next process finds.
func TestKilled(t *testing.T) {
	for _, c := range []struct {
		name     string
		by, size int // servers when the next one looks
		fail     map[int]error
		want     int
		err      string
	}{
		{"before anything came", 1, 2, nil, 3, ""},
		{"when it was done", 1, 3, nil, 3, ""},
		{"and it can't be finished", 1, 2, map[int]error{3: errors.New("unhealthy")}, 2, "unhealthy; undone"},
		{"on the way down", -1, 2, nil, 1, ""},
		{"and somebody has scaled since", 1, 7, nil, 7, "7 servers found, and left as they are"},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig(t)
			first := New(cfg, &fakeBackend{size: 2}, silent)
			first.note(func(st *state) {
				st.Pending = &pending{Order: Order{By: c.by, Sender: Sender{ID: "9"}}, From: 2, To: 2 + c.by}
			})

			b := &fakeBackend{size: c.size, fail: c.fail, half: c.size < 7}
			s := New(cfg, b, silent)
			told := make(chan Outcome, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go s.Tend(ctx, func(o Outcome) { told <- o })
			o := <-told
			expect(t, c.name, o, c.want, c.err)
			if o.Order == nil || o.Order.ID != "9" || b.half || s.pending() != nil {
				t.Errorf("%s: %+v, half done: %v", c.name, o, b.half)
			}
			cancel()
			synctest.Wait()
			if st, err := readState(cfg.File); err != nil || st.Pending != nil {
				t.Errorf("%s: noted %+v, %v", c.name, st, err)
			}
		})
	}
}

// TestEndInTheMiddle: it is undone at once, and the next process says so.
func TestEndInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		b := &fakeBackend{size: 2, takes: time.Second}
		s := New(cfg, b, silent)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		began := time.Now()
		s.Scale(ctx, Order{By: 1, Sender: Sender{ID: "5"}})
		if took := time.Since(began); took > endWait || fmt.Sprint(b.asked) != "[3 2]" || b.half {
			t.Errorf("after %v: %+v", took, b)
		}
		next := New(cfg, b, silent)
		ctx, cancel = context.WithCancel(t.Context())
		told := make(chan Outcome, 1)
		go next.Tend(ctx, func(o Outcome) { told <- o })
		o := <-told
		expect(t, "told by the next", o, 2, "the controller ended while it was under way; undone: 2 servers as before")
		if o.Order == nil || o.Order.ID != "5" {
			t.Errorf("%+v", o)
		}
		cancel()
		synctest.Wait()
	})
}

func TestBrokenState(t *testing.T) {
	cfg := testConfig(t)
	if err := os.MkdirAll(filepath.Dir(cfg.File), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "[]", "{", `{"pending":{"by":0,"from":1,"to":2}}`, `{"added":{"x":-1}}`, `{"pending":{"by":1,"from":1,"to":0}}`} {
		if err := os.WriteFile(cfg.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := New(cfg, &fakeBackend{size: 2}, silent); s.pending() != nil {
			t.Errorf("%q is taken", text)
		}
		if kept, err := os.ReadFile(cfg.File + ".broken"); err != nil || string(kept) != text {
			t.Errorf("%q: kept %q, %v", text, kept, err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	cfg := testConfig(t)
	cfg.File = "/dev/full/scaling.json"
	s := New(cfg, &fakeBackend{size: 2}, silent)
	expect(t, "without a note", s.Scale(t.Context(), Order{By: 1}), 3, "")
}

func TestCredit(t *testing.T) {
	added := map[string]int{"monitor": 2, "ctl": 1}
	for _, c := range []struct {
		origin string
		by     int
		want   string
	}{
		{"ctl", 1, "map[ctl:2 monitor:2]"},
		{"ctl", -1, "map[monitor:2]"},
		{"ctl", -2, "map[monitor:1]"},
		{"web", -9, "map[]"},
		{"web", -1, "map[monitor:2]"}, // by name: ctl's first
	} {
		if got := fmt.Sprint(credit(added, c.origin, c.by)); got != c.want {
			t.Errorf("%s %d: %s, want %s", c.origin, c.by, got, c.want)
		}
	}
}

// TestServersThatWentByThemselves aren't taken away again; those that are only unwell for a while stay whose they are.
func TestServersThatWentByThemselves(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	st := state{Added: map[string]int{"ctl": 1, "monitor": 2}}
	for _, c := range []struct {
		after time.Duration
		most  int // counted beyond the least
		want  string
	}{
		{0, 3, "map[ctl:1 monitor:2]"},
		{time.Minute, 0, "map[ctl:1 monitor:2]"}, // a dip
		{2 * time.Minute, 3, "map[ctl:1 monitor:2]"},
		{time.Hour, 2, "map[ctl:1 monitor:2]"}, // another
		{time.Hour + goneAfter - 1, 1, "map[ctl:1 monitor:2]"},
		{time.Hour + goneAfter, 2, "map[monitor:2]"}, // it lasts
		{time.Hour + goneAfter + 1, 0, "map[monitor:2]"},
		{0, 0, "map[monitor:2]"}, // the clock was set back
		{goneAfter, 0, "map[]"},
	} {
		st.counted(began.Add(c.after), c.most)
		if got := fmt.Sprint(st.Added); got != c.want {
			t.Errorf("after %v: %s, want %s", c.after, got, c.want)
		}
	}
}

// A back-end that counts servers that are well, as scaling.exec's does, counts fewer for a while. The monitor's are taken away all the same.
func TestDip(t *testing.T) {
	b := &fakeBackend{size: 1}
	cfg := testConfig(t)
	cfg.CoolDown = 0
	s := New(cfg, b, silent)
	expect(t, "up", s.Scale(t.Context(), Order{By: 2, Sender: Sender{Origin: "monitor"}}), 3, "")
	b.size = 1
	o := s.Scale(t.Context(), Order{By: -1, Sender: Sender{Origin: "monitor"}})
	expect(t, "down", o, 1, "scaling.min is 1")
	if got := fmt.Sprint(o.Servers.Added); got != "map[monitor:2]" {
		t.Errorf("whose: %s", got)
	}
	s = New(cfg, b, silent) // killed meanwhile
	b.size = 3
	for want := range 2 {
		if o = s.Scale(t.Context(), Order{By: -1, Sender: Sender{Origin: "monitor"}}); o.Err != nil || o.Servers.Added["monitor"] != 1-want {
			t.Errorf("down: %v, %v", o.Err, o.Servers.Added)
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"pending":{"by":1,"id":"x","origin":"monitor","from":1,"to":2,"undo":true,"trouble":"y"},"added":{"monitor":1},"changed":"2026-11-26T22:00:00Z"}`))
	f.Add([]byte(`{"added":{"":0}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if st, err := parseState(text); err == nil && st.Pending != nil && st.Pending.Command() == "" {
			t.Error("no command")
		}
	})
}
