package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func (s *stage) keeper(settings ListSettings) *ListKeeper {
	s.t.Helper()
	if settings.Ceiling == 0 {
		settings.Ceiling = DefaultCeiling
	}
	k, err := NewListKeeper(s.opts.BPFFS, s.opts.Interface, settings)
	must(s.t, err)
	return k
}

func (s *stage) hold(k *ListKeeper, lease time.Duration) {
	s.t.Helper()
	s.host.Do(s.t, func() { must(s.t, k.Hold(lease)) })
}

func (s *stage) put(k *ListKeeper, e ...ListEntry) (err error) {
	s.host.Do(s.t, func() { err = k.Put(e...) })
	return err
}

func (s *stage) remove(k *ListKeeper, p netip.Prefix, kind ListKind) (found bool) {
	s.t.Helper()
	var err error
	s.host.Do(s.t, func() { found, err = k.Remove(p, kind) })
	must(s.t, err)
	return found
}

func entry(kind ListKind, p string, ttl time.Duration) ListEntry {
	return ListEntry{Prefix: netip.MustParsePrefix(p), Kind: kind, TTL: ttl, Since: time.Unix(1_700_000_000, 0), Origin: "test"}
}

// reaches tells whether datagrams of each family get through.
func (s *stage) reaches(a *Attachment) (ipv4, ipv6 bool) {
	s.t.Helper()
	settle()
	before, err := a.Counters()
	must(s.t, err)
	for _, pair := range [][2]netip.Addr{{s.attacker.IPv4, s.host.IPv4}, {s.attacker.IPv6, s.host.IPv6}} {
		f := te.Frame{SrcMAC: s.attacker.MAC, DstMAC: s.host.MAC, Src: pair[0], Dst: pair[1], L4: te.UDP{SrcPort: 9, DstPort: 9}}
		te.SendFrames(s.t, s.attacker, s.attacker.Interface, slices.Repeat([][]byte{f.Bytes()}, 10+10*len(pair[0].AsSlice())/4))
	}
	after, err := a.Counters()
	must(s.t, err)
	c := after.Sub(&before)
	blocked := c[ClassUDP][VerdictDrop][ReasonBlocked].Packets // 20 of IPv4, 50 of IPv6
	if blocked%10 != 0 || blocked > 70 {
		s.t.Fatalf("%d of 70 datagrams blocked", blocked)
	}
	return blocked != 20 && blocked != 70, blocked < 50
}

func (s *stage) expectReach(a *Attachment, what string, want4, want6 bool) {
	s.t.Helper()
	if v4, v6 := s.reaches(a); v4 != want4 || v6 != want6 {
		s.t.Errorf("%s: IPv4 gets through: %v, IPv6: %v, want %v, %v", what, v4, v6, want4, want6)
	}
}

func TestListsOverRestartsAndUnload(t *testing.T) {
	s := newStage(t)
	settings := ListSettings{Block: []netip.Prefix{netip.MustParsePrefix("2001:db8::2/128")}}
	k := s.keeper(settings)
	s.host.Do(t, func() {
		if err := k.Hold(time.Minute); !errors.Is(err, ErrNotAttached) {
			t.Errorf("hold without a datapath: %v", err)
		}
	})
	a := s.mustAttach()
	s.expectReach(a, "no lists", true, true)
	must(t, s.put(k, entry(ListBlock, "198.51.100.2/32", time.Hour)))
	s.expectReach(a, "a command", false, true)
	s.hold(k, time.Minute)
	s.expectReach(a, "and the configuration", false, false)

	must(t, a.Close()) // what dying does
	a = s.mustAttach()
	s.expectReach(a, "the sensor started again", false, false)
	k = s.keeper(ListSettings{})
	s.expectReach(a, "a controller died", false, false)
	s.hold(k, time.Minute)
	s.expectReach(a, "another without the configuration", false, true)
	s.host.Do(t, func() {
		got, err := k.Entries()
		must(t, err)
		want := entry(ListBlock, "198.51.100.2/32", got[0].TTL)
		if len(got) != 1 || got[0] != want || want.TTL > time.Hour || want.TTL < 59*time.Minute {
			t.Errorf("entries %+v, want %+v", got, want)
		}
	})
	if s.remove(k, netip.MustParsePrefix("198.51.100.0/24"), ListBlock) || s.remove(k, netip.MustParsePrefix("198.51.100.2/32"), ListAllow) {
		t.Error("took back what nobody has put there")
	}
	if !s.remove(k, netip.MustParsePrefix("198.51.100.2/32"), ListBlock) {
		t.Error("didn't find what is there")
	}
	s.expectReach(a, "taken back", true, true)

	must(t, s.put(k, entry(ListBlock, "198.51.100.2/32", time.Hour)))
	if !s.unload() || s.pins() != nil {
		t.Errorf("left behind: %v", s.pins())
	}
	a = s.mustAttach()
	s.expectReach(a, "loaded anew", true, true)
	k = s.keeper(settings)
	s.hold(k, time.Minute)
	s.unload()
	a = s.mustAttach()
	s.hold(k, time.Minute) // the same keeper notices that its tables are gone
	s.expectReach(a, "the configuration again", true, false)
}

func TestNewerReplacesAndLongerWins(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	k := s.keeper(ListSettings{Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.2/32")}, Block: []netip.Prefix{netip.MustParsePrefix("::/0")}})
	s.hold(k, time.Minute)
	s.expectReach(a, "configured", true, false)
	must(t, s.put(k, entry(ListBlock, "198.51.100.0/24", time.Hour), entry(ListAllow, "2001:db8::/32", time.Hour)))
	s.expectReach(a, "the longer one wins", true, true)
	must(t, s.put(k, entry(ListBlock, "198.51.100.2/32", 300*time.Millisecond)))
	s.expectReach(a, "the same prefix by command", false, true)
	must(t, s.put(k, entry(ListExempt, "198.51.100.2/32", time.Hour)))
	s.expectReach(a, "an administrator", true, true)
	time.Sleep(400 * time.Millisecond)
	s.hold(k, time.Minute)
	must(t, s.put(k, entry(ListExempt, "198.51.100.2/32", time.Millisecond)))
	time.Sleep(100 * time.Millisecond)
	s.hold(k, time.Minute)
	s.host.Do(t, func() {
		if got, err := k.Entries(); err != nil || len(got) != 2 {
			t.Errorf("entries %v, %v, want the two that last", got, err)
		}
	})
	s.expectReach(a, "what the command hid is back", true, true)
}

func TestKeeperRefuses(t *testing.T) {
	s := newStage(t)
	s.mustAttach()
	k := s.keeper(ListSettings{})
	for name, e := range map[string]ListEntry{
		"no prefix":   {Kind: ListBlock, TTL: time.Hour},
		"host bits":   entry(ListBlock, "192.0.2.1/24", time.Hour),
		"mapped":      entry(ListBlock, "::ffff:192.0.2.0/120", time.Hour),
		"no end":      entry(ListBlock, "192.0.2.0/24", 0),
		"too long":    entry(ListBlock, "192.0.2.0/24", 25*time.Hour),
		"no kind":     entry(0, "192.0.2.0/24", time.Hour),
		"wrong kind":  entry(4, "192.0.2.0/24", time.Hour),
		"in the past": entry(ListAllow, "192.0.2.0/24", -time.Second),
	} {
		if s.put(k, e) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	full := make([]ListEntry, MaxExempt)
	for i := range full {
		full[i] = entry(ListExempt, fmt.Sprintf("192.0.2.%d/32", i), time.Hour)
	}
	must(t, s.put(k, full...))
	if err := s.put(k, entry(ListExempt, "203.0.113.1/32", time.Hour)); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	must(t, s.put(k, entry(ListExempt, "192.0.2.9/32", time.Minute))) // again
	must(t, s.put(k, entry(ListBlock, "203.0.113.1/32", time.Hour)))
	full = nil
	for i := range MaxCommanded - 1 {
		full = append(full, entry(ListAllow, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), time.Hour))
	}
	must(t, s.put(k, full...))
	if err := s.put(k, entry(ListBlock, "203.0.113.9/32", time.Hour)); !errors.Is(err, ErrTooMany) {
		t.Errorf("a command more: %v", err)
	}
	must(t, s.put(k, entry(ListBlock, "203.0.113.1/32", time.Minute), entry(ListExempt, "192.0.2.9/32", time.Minute)))
	if _, err := NewListKeeper("", "", ListSettings{}); err == nil {
		t.Error("no ceiling: taken")
	}
}

// A hundred thousand entries, exchanged again and again during a flood: at no moment is there no list.
func TestExchangeUnderFlood(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	var many []netip.Prefix
	for i := range 100_000 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	many = append(many, netip.PrefixFrom(s.attacker.IPv4, 32), netip.PrefixFrom(s.attacker.IPv6, 128))
	k := s.keeper(ListSettings{Block: many})
	start := time.Now()
	s.hold(k, time.Minute)
	if took := time.Since(start); took > time.Second {
		t.Errorf("loading %d entries took %v", len(many), took)
	} else {
		t.Logf("loading %d entries took %v", len(many), took)
	}
	settle()
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var frames [][]byte
	for _, pair := range [][2]netip.Addr{{s.attacker.IPv4, s.host.IPv4}, {s.attacker.IPv6, s.host.IPv6}} {
		frames = append(frames, te.Frame{SrcMAC: s.attacker.MAC, DstMAC: s.host.MAC, Src: pair[0], Dst: pair[1], L4: te.UDP{SrcPort: 9, DstPort: 9}}.Bytes())
	}
	flood.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				te.SendFrames(t, s.attacker, s.attacker.Interface, slices.Repeat(frames, 500))
			}
		}
	})
	for i := range 15 {
		must(t, s.put(k, entry(ListBlock, fmt.Sprintf("192.0.2.%d/32", i), time.Hour), entry(ListBlock, fmt.Sprintf("2001:db8:9::%d/128", i), time.Hour)))
	}
	close(stop)
	flood.Wait()
	c, err := a.Counters()
	must(t, err)
	if n := c[ClassUDP][VerdictDrop][ReasonBlocked].Packets; n < 5000 || n != c.Offered(ClassUDP).Packets {
		t.Errorf("%d of %d datagrams blocked", n, c.Offered(ClassUDP).Packets)
	}
}

// What pins and the kernel have is all there is: with every process gone the entries end by themselves.
func TestListsEndWithEveryProcessGone(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	k := s.keeper(ListSettings{Block: []netip.Prefix{netip.PrefixFrom(s.attacker.IPv6, 128)}})
	s.hold(k, 500*time.Millisecond)
	must(t, s.put(k, entry(ListBlock, "198.51.100.0/24", 900*time.Millisecond)))
	s.expectReach(a, "both", false, false)
	time.Sleep(500 * time.Millisecond)
	s.expectReach(a, "nobody holds the configuration's", false, true)
	time.Sleep(500 * time.Millisecond)
	s.expectReach(a, "the command's end", true, true)
}

// What the lists don't take changes nothing, now or later: not what they hold, nor what they take afterwards.
func TestWhatTheListsDontTakeLeavesNoTrace(t *testing.T) {
	b := newChallenged(t)
	b.Bank.Do(t, func() {
		k, err := NewListKeeper(b.opts.BPFFS, b.opts.Interface, ListSettings{Ceiling: 10})
		must(t, err)
		var all []ListEntry
		length := func(n int) netip.Prefix { return netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), n).Masked() }
		for n := range maxLengths - 1 {
			all = append(all, ListEntry{Prefix: length(128 - n), Kind: ListBlock, TTL: time.Hour})
		}
		must(t, k.Put(all...))
		must(t, k.Hold(time.Hour))
		have := func() int {
			entries, err := k.Entries()
			must(t, err)
			return len(entries)
		}
		for _, n := range []int{2, 3} { // the second is one too many
			e := []ListEntry{{Prefix: length(17), Kind: ListBlock, TTL: time.Hour}, {Prefix: length(18), Kind: ListBlock, TTL: time.Hour},
				{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Kind: ListBlock, TTL: time.Hour}}[:n]
			if err := k.Put(e...); !errors.Is(err, errLengths) {
				t.Fatalf("%d entries: %v", n, err)
			}
			if n := have(); n != maxLengths-1 {
				t.Errorf("%d entries, want those of before, %d", n, maxLengths-1)
			}
		}
		// A keeper that begins anew, as when the controller is started again, and an administrator who logs in.
		k, err = NewListKeeper(b.opts.BPFFS, b.opts.Interface, ListSettings{Ceiling: 10})
		must(t, err)
		must(t, k.Hold(time.Hour))
		must(t, k.Put(entry(ListExempt, "2001:db8::7/128", time.Hour)))

		var many []ListEntry
		for i := range MaxExempt + 1 {
			many = append(many, ListEntry{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 32), Kind: ListExempt, TTL: time.Hour})
		}
		if err := k.Put(many...); !errors.Is(err, ErrTooMany) {
			t.Errorf("%d exemptions: %v", len(many), err)
		}
		if n := have(); n != maxLengths {
			t.Errorf("%d entries, want %d", n, maxLengths)
		}
	})
}
