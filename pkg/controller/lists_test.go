package controller

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// fakeLister is the pinned lists.
type fakeLister struct {
	mu      sync.Mutex
	entries map[string]datapath.ListEntry // by kind and prefix
	held    time.Time                     // until when
	puts    int
	err     error
}

func (l *fakeLister) key(p netip.Prefix, k datapath.ListKind) string { return fmt.Sprint(k, p) }

func (l *fakeLister) Hold(lease time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.held = time.Now().Add(lease)
	}
	return l.err
}

func (l *fakeLister) Put(all ...datapath.ListEntry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.puts++
	for _, e := range all {
		l.entries[l.key(e.Prefix, e.Kind)] = e
	}
	return nil
}

func (l *fakeLister) Remove(p netip.Prefix, k datapath.ListKind) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, found := l.entries[l.key(p, k)]
	delete(l.entries, l.key(p, k))
	return found, l.err
}

func (l *fakeLister) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// get returns an entry by kind and prefix.
func (l *fakeLister) get(key string) datapath.ListEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[key]
}

func (l *fakeLister) changes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.puts
}

// anew is what an unload and a new start do.
func (l *fakeLister) anew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = nil
	clear(l.entries)
}

func (l *fakeLister) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.held)
}

func (l *fakeLister) names() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.entries {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

// listStage is a stage with lists; logins is who is logged in.
type listStage struct {
	*stage
	lister *fakeLister
	mu     sync.Mutex
	logins []netip.Addr
	wrong  error
}

func (s *listStage) login(err error, from ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins, s.wrong = nil, err
	for _, a := range from {
		s.logins = append(s.logins, netip.MustParseAddr(a))
	}
}

func runLists(t *testing.T, scene func(*listStage)) (printed string) {
	t.Helper()
	var out bytes.Buffer
	s := &listStage{
		stage:  &stage{t: t, bus: &bustest.Fake{}, limiter: &fakeLimiter{}, cfg: DefaultConfig()},
		lister: &fakeLister{entries: map[string]datapath.ListEntry{}},
	}
	bustest.Play(t, func() (bustest.Run, error) {
		c, err := New(s.cfg, s.bus, s.limiter, &out, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		c.KeepLists(Lists{
			Lister: s.lister,
			Logins: func() ([]netip.Addr, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return slices.Clone(s.logins), s.wrong
			},
			Own: func() ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")}, nil
			},
		})
		return c.Run, nil
	}, func() { scene(s) })
	return out.String()
}

func TestListCommands(t *testing.T) {
	printed := runLists(t, func(s *listStage) {
		s.started()
		s.command(`{"command":"block_source","source":"192.0.2.0/24","id":"1","origin":"bob","reason":"scans"}`)
		if st := s.expect("block", wire.Success, wire.StateOff, "192.0.2.0/24 is blocked for 1h0m0s"); st.ID != "1" || st.Command != wire.BlockSource {
			t.Errorf("status %+v", st)
		}
		want := datapath.ListEntry{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Kind: datapath.ListBlock, TTL: time.Hour,
			Since: time.Now(), Origin: "bob", Reason: "scans"}
		if got := s.lister.get("block 192.0.2.0/24"); got != want {
			t.Errorf("entry %+v, want %+v", got, want)
		}
		s.command(`{"command":"allow_source","source":"2001:db8:7::1","ttl_seconds":60}`)
		s.expect("allow", wire.Success, wire.StateOff, "2001:db8:7::1 is allowed for 1m0s")
		s.command(`{"command":"unblock_source","source":"192.0.2.0/25"}`)
		s.expect("unblock another", wire.Failure, wire.StateOff, "no command has put 192.0.2.0/25 on the block list")
		s.command(`{"command":"unblock_source","source":"2001:db8:7::1"}`)
		s.expect("unblock what is allowed", wire.Failure, wire.StateOff, "no command")
		s.command(`{"command":"unblock_source","source":"192.0.2.0/24"}`)
		s.expect("unblock", wire.Success, wire.StateOff, "off the block list")
		s.command(`{"command":"unallow_source","source":"2001:db8:7::1/128"}`)
		s.expect("unallow", wire.Success, wire.StateOff, "2001:db8:7::1 is off the allow list")
		if got := s.lister.names(); got != nil {
			t.Errorf("left: %v", got)
		}
	})
	if !strings.Contains(printed, "Blocking 192.0.2.0/24...\n") {
		t.Errorf("printed %s", printed)
	}
}

func TestListCommandsRefused(t *testing.T) {
	runLists(t, func(s *listStage) {
		s.started()
		s.login(nil, "203.0.113.5", "2001:db8:5::5")
		for payload, why := range map[string]string{
			`{"command":"block_source"}`:                                                "no \"source\"",
			`{"command":"block_source","source":"192.0.2.1/24"}`:                        "bits beyond",
			`{"command":"block_source","source":"everybody"}`:                           "give an address",
			`{"command":"block_source","source":"0.0.0.0/0"}`:                           "too wide",
			`{"command":"block_source","source":"64.0.0.0/7"}`:                          "too wide",
			`{"command":"allow_source","source":"2000::/15"}`:                           "too wide",
			`{"command":"block_source","source":"127.0.0.0/8"}`:                         "loopback",
			`{"command":"block_source","source":"127.9.0.1"}`:                           "loopback",
			`{"command":"block_source","source":"::1"}`:                                 "loopback",
			`{"command":"block_source","source":"198.51.100.0/24"}`:                     "own address 198.51.100.1",
			`{"command":"block_source","source":"2001:db8::/32"}`:                       "own address 2001:db8::1",
			`{"command":"block_source","source":"203.0.113.5"}`:                         "logged in by SSH",
			`{"command":"block_source","source":"203.0.0.0/8"}`:                         "logged in by SSH",
			`{"command":"block_source","source":"2001:db8:5::/48"}`:                     "logged in by SSH",
			`{"command":"block_source","source":"192.0.2.1","ttl_seconds":86401}`:       "ttl_seconds",
			`{"command":"block_source","source":"192.0.2.1","origin":"controller"}`:     "controller's own",
			`{"command":"block_source","source":"192.0.2.1","source":"198.51.100.1"}`:   "twice",
			`{"command":"block_source","source":"::ffff:192.0.2.1"}`:                    "::ffff:",
			`{"command":"block_source","source":"192.0.2.1; rm -rf /"}`:                 "give an address",
			`{"command":"unblock_source","source":"192.0.2.1","reason":["x"]}`:          "reason",
			`{"command":"enable_rate_limiting","source":"192.0.2.1"}`:                   "only the list commands",
			`{"command":"block_source","source":"192.0.2.0/24","rate":"` + "x" + `"}`:   "rate",
			`{"command":"block_source","source":"192.0.2.0/24","Ttl_Seconds":86400000}`: "ttl_seconds",
		} {
			s.command(payload)
			s.expect(payload, wire.Failure, wire.StateOff, why)
		}
		s.login(errors.New("no such proc"))
		s.command(`{"command":"block_source","source":"192.0.2.1"}`)
		s.expect("unknown logins", wire.Failure, wire.StateOff, "no such proc")
		s.login(nil)
		s.lister.fail(fmt.Errorf("%w: 10000", datapath.ErrTooMany))
		s.command(`{"command":"block_source","source":"192.0.2.1"}`)
		s.expect("full", wire.Failure, wire.StateOff, "the lists are full")
		s.lister.fail(nil)
		if got := s.lister.names(); len(got) > 2 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, "exempt") }) {
			t.Errorf("entries %v", got)
		}
	})
}

func TestLoginsAreExemptUntilTenMinutesAfter(t *testing.T) {
	runLists(t, func(s *listStage) {
		s.login(nil, "203.0.113.5", "127.0.0.1", "::1")
		s.started()
		time.Sleep(2 * listsEvery)
		synctest.Wait()
		if got := s.lister.names(); !slices.Equal(got, []string{"exempt 203.0.113.5/32"}) {
			t.Errorf("exempt: %v", got)
		}
		before := s.lister.changes()
		for range 12 { // an hour
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			e := s.lister.get("exempt 203.0.113.5/32")
			if left := time.Until(e.Since.Add(e.TTL)); left < 8*time.Minute {
				t.Fatalf("the exemption ends in %v", left)
			}
		}
		if n := s.lister.changes() - before; n > 61 {
			t.Errorf("%d changes in an hour", n)
		}
		s.login(errors.New("no proc for a while"))
		s.command(`{"command":"block_source","source":"203.0.113.5"}`)
		s.expect("block while unknown", wire.Failure, wire.StateOff, "no proc")
		s.login(nil)
		time.Sleep(time.Minute)
		s.command(`{"command":"block_source","source":"203.0.113.0/24"}`)
		s.expect("just logged out", wire.Failure, wire.StateOff, "203.0.113.5")
		time.Sleep(10 * time.Minute)
		s.command(`{"command":"block_source","source":"203.0.113.0/24"}`)
		s.expect("long logged out", wire.Success, wire.StateOff, "blocked")
		if e := s.lister.get("exempt 203.0.113.5/32"); time.Now().Before(e.Since.Add(e.TTL)) {
			t.Errorf("still exempt: %+v", e)
		}
	})
}

func TestListsAreHeldWhateverTheBrokerDoes(t *testing.T) {
	runLists(t, func(s *listStage) {
		s.started()
		s.bus.SetAway(true)
		s.login(nil, "203.0.113.5")
		time.Sleep(time.Hour)
		if left := s.lister.left(); left < s.cfg.Lease-2*listsEvery {
			t.Errorf("held for %v more", left)
		}
		s.lister.fail(datapath.ErrNotAttached)
		time.Sleep(time.Minute)
		s.lister.anew()
		time.Sleep(2 * time.Second)
		if got := s.lister.names(); len(got) != 1 {
			t.Errorf("exempt in a new datapath: %v", got)
		}
	})
}

func TestMoreLoginsThanRoom(t *testing.T) {
	runLists(t, func(s *listStage) {
		var many []string
		for i := range datapath.MaxExempt + 40 {
			many = append(many, fmt.Sprintf("203.0.%d.%d", i/256, i%256))
		}
		s.login(nil, many[:datapath.MaxExempt]...)
		s.started()
		time.Sleep(2 * listsEvery)
		s.login(nil, many...)
		time.Sleep(30 * time.Minute)
		if n := len(s.lister.names()); n != datapath.MaxExempt {
			t.Errorf("%d addresses exempt, want %d", n, datapath.MaxExempt)
		}
		e := s.lister.get("exempt " + many[7] + "/32")
		if time.Now().After(e.Since.Add(e.TTL)) {
			t.Errorf("who was there first is exempt no longer: %+v", e)
		}
	})
}
