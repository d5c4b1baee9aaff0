package datapath

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath/internal/bpftest"
	"github.com/weir-sensor/weir/pkg/testenv"
)

func newSet(t *testing.T) *bpftest.Set {
	t.Helper()
	testenv.Root(t)
	s, err := bpftest.NewSet()
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// charger charges sources of one set under one limit.
type charger struct {
	t   *testing.T
	set *bpftest.Set
	l   Limit
}

func (c charger) charge(key uint64, at time.Duration) uint64 {
	c.t.Helper()
	v, err := c.set.Charge(key, ticks(at), c.l.interval(), c.l.tolerance())
	must(c.t, err)
	return v
}

func ticks(d time.Duration) uint64 { return uint64(d) >> tickShift & tickMask }

// bucket is the textbook token bucket that GCRA must equal.
type bucket struct {
	tokens float64
	last   time.Duration
}

func (b *bucket) take(now time.Duration, l Limit) bool {
	b.tokens = min(float64(l.Burst), b.tokens+(now-b.last).Seconds()*float64(l.Rate))
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func TestBucketEqualsTokenBucket(t *testing.T) {
	set := newSet(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, l := range []Limit{{1, 1}, {1, 5}, {100, 200}, {100, 1}, {3, 1000}, {1000, 10}, {100_000, 1_000_000}, {100_000, 1}} {
		must(t, l.Validate())
		must(t, set.Fill([4]bpftest.Entry{}))
		c := charger{t, set, l}
		// The clock starts where it is about to wrap.
		start := time.Duration(tickMask)<<tickShift - time.Second
		model := bucket{tokens: float64(l.Burst), last: start}
		now, passed, want, total := start, 0, 0, 3000
		for range total {
			// Around the limit's own pace, with pauses.
			now += time.Duration(rng.ExpFloat64() * float64(time.Second) / float64(l.Rate) / 1.5)
			if rng.IntN(100) == 0 {
				now += time.Duration(rng.Int64N(int64(l.Burst)*int64(time.Second)/int64(l.Rate) + 1))
			}
			if c.charge(7, now) == bpftest.Conforms {
				passed++
			}
			if model.take(now, l) {
				want++
			}
		}
		// A tick is 0.26 us, and an interval is rounded down to one: at 100,000 a second that is 0.2 %.
		if diff := float64(passed - want); diff < -1 || diff > 1+0.004*float64(total) {
			t.Errorf("%+v: %d of %d conform, a token bucket lets %d", l, passed, total, want)
		}
	}
}

func TestBurstIsExact(t *testing.T) {
	set := newSet(t)
	for _, l := range []Limit{{1, 1}, {10, 2}, {100, 200}} {
		must(t, set.Fill([4]bpftest.Entry{}))
		c := charger{t, set, l}
		for i := range l.Burst + 3 {
			want := uint64(bpftest.Conforms)
			if i >= l.Burst {
				want = bpftest.Exceeds
			}
			if got := c.charge(7, time.Hour); got != want {
				t.Fatalf("%+v: verdict of SYN %d is %d, want %d", l, i+1, got, want)
			}
		}
		if got := c.charge(7, time.Hour+time.Second/time.Duration(l.Rate)); got != bpftest.Conforms {
			t.Errorf("%+v: no token after one interval", l)
		}
	}
}

func TestRefusedPacketsCostNothing(t *testing.T) {
	c := charger{t, newSet(t), Limit{10, 5}}
	passed := 0
	for i := range 10_000 { // 1,000 a second for ten seconds
		if c.charge(7, time.Hour+time.Duration(i)*time.Millisecond) == bpftest.Conforms {
			passed++
		}
	}
	if passed < 104 || passed > 106 {
		t.Errorf("%d of a flood pass in 10 s at 10/s, burst 5", passed)
	}
}

// Each CPU has its own clock, and they are up to a jiffy apart.
func TestCPUsClocksMayDiffer(t *testing.T) {
	c := charger{t, newSet(t), DefaultLimit}
	passed := uint64(0)
	for i := range 10 * DefaultLimit.Burst {
		if c.charge(7, time.Hour-time.Duration(i%2)*9*time.Millisecond) == bpftest.Conforms {
			passed++
		}
	}
	if passed > DefaultLimit.Burst {
		t.Errorf("%d packets at once pass at a burst of %d", passed, DefaultLimit.Burst)
	}
}

func TestSpoofedNoiseDisplacesNoLimitedSource(t *testing.T) {
	c := charger{t, newSet(t), DefaultLimit}
	now := time.Hour
	const heavy = 42
	for range DefaultLimit.Burst + 10 {
		c.charge(heavy, now)
	}
	passed := 0
	for noise := uint64(1000); noise < 101_000; noise++ { // ten seconds
		now += 100 * time.Microsecond
		if c.charge(noise, now) != bpftest.Conforms {
			t.Fatal("a source was refused at its first SYN")
		}
		if noise%10 == 0 && c.charge(heavy, now) == bpftest.Conforms { // it goes on with 1,000 a second
			passed++
		}
	}
	if passed < 999 || passed > 1001 {
		t.Errorf("during 100,000 spoofed sources %d SYNs of a heavy one pass in 10 s at 100/s", passed)
	}
}

func TestFullSetJudgesNobodyElse(t *testing.T) {
	c := charger{t, newSet(t), DefaultLimit}
	for heavy := range uint64(ways) {
		for range DefaultLimit.Burst + 10 {
			c.charge(heavy+1, time.Hour)
		}
	}
	for range 1000 {
		if got := c.charge(99, time.Hour); got != bpftest.Untracked {
			t.Fatalf("a newcomer to a set of limited sources gets verdict %d", got)
		}
	}
	// Once they have calmed down to half of their burst, there is room.
	if got := c.charge(99, time.Hour+2*time.Second); got != bpftest.Conforms {
		t.Errorf("verdict %d when the set is idle", got)
	}
}

func TestNewcomerOwesNothing(t *testing.T) {
	c := charger{t, newSet(t), DefaultLimit}
	for key := range uint64(ways) {
		for range DefaultLimit.Burst / 3 {
			c.charge(key+1, time.Hour)
		}
	}
	for i := range DefaultLimit.Burst {
		if got := c.charge(99, time.Hour); got != bpftest.Conforms {
			t.Fatalf("SYN %d of a newcomer gets verdict %d: it pays for the one it replaced", i+1, got)
		}
	}
}

func TestHashSpreads(t *testing.T) {
	set := newSet(t)
	rng := rand.New(rand.NewPCG(3, 4))
	const n, sets, seeds = 4096, 256, 10
	for _, step := range []uint64{1, 1 << 8, 1 << 16, 1 << 32, 1 << 52} {
		sum := 0.0
		for range seeds {
			seed := [2]uint64{rng.Uint64(), rng.Uint64()}
			var load [sets]int
			for i := range uint64(n) {
				h, err := set.Hash(i*step, seed[0], seed[1])
				must(t, err)
				load[h%sets]++
			}
			for _, x := range load {
				d := float64(x) - n/sets
				sum += d * d / (n / sets)
			}
		}
		// Chi-squared with 255 degrees of freedom has a standard deviation of 22.6. A multiplicative hash spreads evenly spaced
		// keys better than chance with most seeds and worse with few: on average it must not crowd them.
		if mean := sum / seeds; mean > 255+4*22.6 {
			t.Errorf("keys %d apart crowd together: mean chi-squared %.0f", step, mean)
		}
	}
}

func TestBacklogEqualsDatapath(t *testing.T) {
	c := charger{t, newSet(t), Limit{10, 5}}
	for i := range 5 {
		c.charge(7, time.Hour)
		e, err := c.set.Entries()
		must(t, err)
		want := uint64(i+1) * c.l.interval()
		if got := backlog(e[0].Bucket, ticks(time.Hour), c.l.interval(), c.l.tolerance()); got != want {
			t.Errorf("backlog after %d SYNs is %d, want %d", i+1, got, want)
		}
		if got := backlog(e[0].Bucket, ticks(2*time.Hour), c.l.interval(), c.l.tolerance()); got != 0 {
			t.Errorf("backlog an hour later is %d", got)
		}
	}
}

func TestCountsWrapAndBeginAnew(t *testing.T) {
	for _, row := range []struct{ was, is, want uint64 }{
		{5, 9, 4}, {5, 5, 0}, {countMask - 3, 6, 10}, {1 << 30, 1<<30 + 7, 7},
		{5000, 3, 3}, {29, 0, 0}, // replaced meanwhile
		{5 << countBits, 900<<countBits | 8, 8},
	} {
		if got := counted(row.was, row.is); got != row.want {
			t.Errorf("from %d to %d: %d, want %d", row.was, row.is, got, row.want)
		}
	}
}
