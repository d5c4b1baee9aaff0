package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
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
	d := newDoor(quiet)
	now := time.Unix(1_700_000_000, 0)
	guesser, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	guess := func() (n int) {
		for n = 0; d.enter(now, guesser) && n < 1000; n++ {
			d.leave(now, guesser, true)
		}
		return n
	}
	if n := guess(); n != strikes {
		t.Errorf("%d guesses", n)
	}
	for ban := firstBan; ban < longestBan; ban *= 2 {
		if now = now.Add(ban - time.Second); d.enter(now, guesser) {
			t.Errorf("the ban of %v ends early", ban)
		}
		if now = now.Add(time.Second); guess() != strikes {
			t.Errorf("after a ban of %v", ban)
		}
	}
	if !d.enter(now, other) {
		t.Error("another is banned, too")
	}
	d.leave(now, other, false)
	now = now.Add(longestBan + sourceForgiven + time.Second)
	if guess() != strikes || d.sources[guesser].bans != 1 {
		t.Errorf("nothing is forgiven: %+v", d.sources[guesser])
	}
	for i := range 10 * strikes { // one now and then is a mistake
		now = now.Add(strikesForget + time.Second)
		if d.enter(now, other) {
			d.leave(now, other, true)
		} else {
			t.Fatalf("banned for mistake %d", i)
		}
	}
}

func TestTooManyConnections(t *testing.T) {
	d := newDoor(quiet)
	now := time.Unix(1_700_000_000, 0)
	from := netip.MustParsePrefix("2001:db8::/64")
	n := 0
	for range connectBurst + 50 {
		if d.enter(now, from) {
			n++
		}
	}
	if n != connectBurst {
		t.Errorf("%d connections at once", n)
	}
	for range 10_000 {
		now = now.Add(time.Second / connectRate)
		if d.enter(now, from) {
			n++
		}
	}
	if n != maxPerSource {
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

// Who isn't let in by the broker is banned at its door; who says nothing, like a health check, isn't.
func TestGuessersAreBanned(t *testing.T) {
	from := netip.MustParsePrefix("192.0.2.1/32")
	elsewhere = func(net.Addr) (netip.Prefix, bool) { return from, true }
	t.Cleanup(func() { elsewhere = sourceOf }) // when the broker has ended
	b := newBank(t)
	visit := func(f func(c net.Conn)) {
		t.Helper()
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		f(c)
		_ = c.Close()
	}
	for range 3 * strikes {
		visit(func(net.Conn) {})
	}
	b.client(t, b.viewer)
	for i := range strikes {
		if err := refused(b.url(), b.as(b.viewer), func(o *mqtt.ClientOptions) { o.SetPassword(fmt.Sprint(i)) }); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(b.log.String(), "a source is banned") && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if err := refused(b.url(), b.as(b.viewer)); err != nil {
		t.Error("a banned source is let in")
	}
}

func TestDeepTopicsAreRefused(t *testing.T) {
	b, _ := start(t)
	got := subscribe(t, client(t, "tcp://"+b.Addr()), "#")
	c := client(t, "tcp://"+b.Addr())
	c.Publish(strings.Repeat("a/", maxLevels)+"a", 0, false, "deep")
	publish(t, client(t, "tcp://"+b.Addr()), "a", false, "flat")
	expect(t, got, "flat")
}

// Connections that say nothing make room for those that do.
func TestCrowd(t *testing.T) {
	b := newBank(t)
	first := b.client(t, b.viewer)
	var crowd []net.Conn
	defer func() {
		for _, c := range crowd {
			c.Close()
		}
	}()
	for range maxWaiting + 50 {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
	}
	begin := time.Now()
	b.client(t, b.operator)
	if took := time.Since(begin); took > connectTimeout/2 {
		t.Errorf("a client waited for %v", took)
	}
	if !first.IsConnectionOpen() {
		t.Error("who was let in has to make room")
	}
	for _, c := range crowd[:10] {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the oldest are still there")
		}
	}
}
