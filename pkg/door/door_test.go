package door

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func quiet(string, ...any) {}

func TestSourcesAreToldApart(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1/32", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "[::ffff:192.0.2.1]:5": "192.0.2.1/32", "[fe80::1%lo]:5": "fe80::/64",
		"127.0.0.1:5": "", "[::1]:5": "", "[::ffff:127.0.0.1]:5": "",
	} {
		a := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))
		p, ok := sourceOf(a)
		if ok != (want != "") || ok && p.String() != want {
			t.Errorf("%s is %v, %v", addr, p, ok)
		}
	}
}

func TestBans(t *testing.T) {
	d := New(Default, quiet)
	now := time.Unix(1_700_000_000, 0)
	guesser, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	guess := func() (n int) {
		for n = 0; d.enter(now, guesser) && n < 1000; n++ {
			d.leave(now, guesser, true)
		}
		return n
	}
	if n := guess(); n != Default.Strikes {
		t.Errorf("%d guesses", n)
	}
	for ban := firstBan; ban < longestBan; ban *= 2 {
		if now = now.Add(ban - time.Second); d.enter(now, guesser) {
			t.Errorf("the ban of %v ends early", ban)
		}
		if now = now.Add(time.Second); guess() != Default.Strikes {
			t.Errorf("after a ban of %v", ban)
		}
	}
	if !d.enter(now, other) {
		t.Error("another is banned, too")
	}
	d.leave(now, other, false)
	now = now.Add(longestBan + sourceForgiven + time.Second)
	if guess() != Default.Strikes || d.sources[guesser].bans != 1 {
		t.Errorf("nothing is forgiven: %+v", d.sources[guesser])
	}
	for i := range 10 * Default.Strikes { // one now and then is a mistake
		now = now.Add(strikesForget + time.Second)
		if d.enter(now, other) {
			d.leave(now, other, true)
		} else {
			t.Fatalf("banned for mistake %d", i)
		}
	}
}

// Who connects and leaves and connects is banned, though he was let in each time.
func TestFlappersAreBanned(t *testing.T) {
	d := New(Default, quiet)
	now := time.Unix(1_700_000_000, 0)
	flapper, steady := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	flap := func(from netip.Prefix, pace time.Duration, times int) (in int) {
		for range times {
			now = now.Add(pace)
			if d.enter(now, from) {
				in++
				d.leave(now, from, false)
			}
		}
		return in
	}
	if n := flap(steady, time.Second/time.Duration(Default.Rate), 10_000); n != 10_000 {
		t.Errorf("who keeps to the rate is let in %d times", n)
	}
	if n := flap(flapper, time.Millisecond, Default.Burst+Default.Flaps+50); n > Default.Burst+Default.Burst/5 {
		t.Errorf("who doesn't is let in %d times", n)
	}
	if now = now.Add(firstBan - time.Second); d.enter(now, flapper) {
		t.Error("he isn't banned")
	}
	if now = now.Add(time.Second); !d.enter(now, flapper) {
		t.Error("his ban doesn't end")
	}
}

// TestEachIsSaid: whoever counts what is said knows how many were turned away. A ban is said beside that.
func TestEachIsSaid(t *testing.T) {
	said, bans, refused := 0, 0, 0
	d := New(Default, func(text string, _ ...any) {
		said++
		if strings.Contains(text, "is banned") {
			bans++
		}
	})
	now := time.Unix(1_700_000_000, 0)
	enter := func(i int) {
		if !d.enter(now, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)) {
			refused++
		}
	}
	for range Default.Burst + Default.Flaps + 100 {
		enter(0)
	}
	if bans != 1 || refused != Default.Flaps+100 || said-bans != refused {
		t.Errorf("banned: %d refused, %d said, %d bans", refused, said, bans)
	}
	for i := range maxSources + 10 {
		enter(i + 1)
	}
	if refused < Default.Flaps+110 || said-bans != refused {
		t.Errorf("full: %d refused, %d said, %d bans", refused, said, bans)
	}
}

func TestTooManyConnections(t *testing.T) {
	d := New(Default, quiet)
	now := time.Unix(1_700_000_000, 0)
	from := netip.MustParsePrefix("2001:db8::/64")
	n := 0
	for range Default.Burst + 50 {
		if d.enter(now, from) {
			n++
		}
	}
	if n != Default.Burst {
		t.Errorf("%d connections at once", n)
	}
	for range 10_000 {
		now = now.Add(time.Second / time.Duration(Default.Rate))
		if d.enter(now, from) {
			n++
		}
	}
	if n != Default.PerSource {
		t.Errorf("%d connections", n)
	}
	d.leave(now, from, false)
	if !d.enter(now.Add(time.Second), from) {
		t.Error("one has gone, and none may come")
	}
	for i := range 2 * maxSources {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		if d.enter(now, p) {
			d.leave(now, p, false)
		}
	}
	if len(d.sources) > maxSources || d.sources[from] == nil {
		t.Errorf("%d sources are remembered", len(d.sources))
	}
}

// Who fills the table with bans keeps nobody else out.
func TestBannedSourcesMakeRoom(t *testing.T) {
	d := New(Default, quiet)
	now := time.Unix(1_700_000_000, 0)
	for i := range maxSources {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		for d.enter(now, p) {
			d.leave(now, p, true)
		}
	}
	if p := netip.MustParsePrefix("192.0.2.1/32"); !d.enter(now, p) {
		t.Error("another is kept out")
	}
}
