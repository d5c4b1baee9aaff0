package policer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// show returns what tc says of eth0, its lines.
func (y *yard) show(flags ...string) (all []string) {
	y.t.Helper()
	for _, args := range []string{"-d qdisc show dev eth0", "-d filter show dev eth0 ingress", "-d filter show dev eth0 egress"} {
		args = strings.Join(flags, " ") + " " + args
		all = append(all, strings.Split(strings.TrimSpace(y.host.Run(y.t, "tc", strings.Fields(args)...)), "\n")...)
	}
	return all
}

func (y *yard) actions() string {
	y.t.Helper()
	return y.host.Run(y.t, "tc", "actions", "ls", "action", "police")
}

// What others have installed stays as it is, bit for bit.
func TestForeignFiltersSurvive(t *testing.T) {
	for _, u32 := range []bool{false, true} {
		y := newYard(t)
		y.opts.u32 = u32
		for _, line := range []string{
			"qdisc add dev eth0 clsact",
			"filter add dev eth0 ingress pref 3 protocol ip u32 match ip dst 192.0.2.1/32 action ok",
			"filter add dev eth0 ingress pref 4 protocol ip handle 7: u32 divisor 16",
			"filter add dev eth0 ingress pref 20 protocol ipv6 flower ip_proto udp action drop",
			"filter add dev eth0 ingress pref 21 protocol all matchall action police pkts_rate 1000 pkts_burst 1000 conform-exceed drop/continue index 9",
			"filter add dev eth0 egress pref 1 protocol ip flower ip_proto icmp action ok",
		} {
			y.host.Run(t, "tc", strings.Fields(line)...)
		}
		before, beforeJSON := y.show(), y.show("-j") // which isn't valid where there are police actions, and the same all the same
		same := func(when string) {
			t.Helper()
			if now := y.show(); !slices.Equal(now, before) {
				t.Errorf("%s, u32 %v:\n%s\nwant\n%s", when, u32, strings.Join(now, "\n"), strings.Join(before, "\n"))
			}
			if now := y.show("-j"); !slices.Equal(now, beforeJSON) {
				t.Errorf("%s, u32 %v, as JSON:\n%s\nwant\n%s", when, u32, strings.Join(now, "\n"), strings.Join(beforeJSON, "\n"))
			}
		}
		p := y.policer()
		y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
		y.do(func() error { return p.Hold(time.Now(), []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}) })
		during := y.show()
		if len(during) <= len(before) {
			t.Error("nothing was installed")
		}
		for _, line := range before {
			// How many refer to an action is part of what is shown of it.
			if !slices.Contains(during, line) {
				t.Errorf("while it limits there is no\n%s", line)
			}
		}
		y.do(p.Disable)
		same("after disable")
		y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
		after := y.policer() // as after a kill
		y.do(after.Disable)
		same("after a kill")
		y.do(func() error { return after.Enable(datapath.DefaultLimit, time.Hour) })
		y.do(func() error { _, err := y.policer().Remove(); return err })
		same("after unload")
		if rest := y.actions(); strings.Count(rest, "order") != 1 || !strings.Contains(rest, "police 0x9 ") {
			t.Errorf("actions that are left: %s", rest)
		}
	}
}

// Without anybody else's filters nothing is left at all.
func TestNothingIsLeft(t *testing.T) {
	y := newYard(t)
	before := y.show()
	p := y.policer()
	for range 2 {
		y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
		y.do(p.Disable)
		if now := y.show(); !slices.Equal(now, before) {
			t.Errorf("%s", strings.Join(now, "\n"))
		}
	}
	// Somebody begins to use the qdisc meanwhile.
	y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
	y.host.Run(t, "tc", strings.Fields("filter add dev eth0 egress pref 1 protocol ip flower ip_proto icmp action ok")...)
	y.do(p.Disable)
	if now := y.show(); len(now) <= len(before) {
		t.Errorf("somebody else's filter is gone: %s", strings.Join(now, "\n"))
	}
	y.do(func() error { _, err := p.Remove(); return err })
	if rest := y.actions(); strings.Contains(rest, "order") {
		t.Errorf("actions that are left: %s", rest)
	}
	y.do(func() error {
		found, err := p.Remove()
		if found {
			t.Error("something was found after all was removed")
		}
		return err
	})
}

// A process that starts finds what was left, and whoever looks ends what should have ended.
func TestLeaseIsAdoptedAndEnds(t *testing.T) {
	y := newYard(t)
	limit := datapath.Limit{Rate: 50, Burst: 70}
	y.do(func() error { return y.policer().Enable(limit, 2*time.Second) })
	began := time.Now()
	p := y.policer()
	y.do(func() error {
		s, err := p.State()
		if s.Limit != limit || s.Lease <= 0 || s.Lease > 2*time.Second {
			t.Errorf("%+v", s)
		}
		ended, e := p.Expire()
		if ended || e != nil {
			t.Errorf("ended at once: %v, %v", ended, e)
		}
		return err
	})
	time.Sleep(time.Until(began.Add(2100 * time.Millisecond)))
	y.do(func() error {
		ended, err := p.Expire()
		if !ended {
			t.Error("the lease didn't end")
		}
		return err
	})
	if n, _ := y.flood(2000, time.Second, syn()); n < y.sent*9/10 {
		t.Errorf("%d of %d SYNs came through after that", n, y.sent)
	}
}

// A renewal gives no further burst, and counts go on over all changes.
func TestRenewalsAndCounts(t *testing.T) {
	y := newYard(t)
	y.opts.Total = datapath.Limit{Rate: 20, Burst: 200}
	p := y.policer()
	var sent, arrived int
	var lasted time.Duration
	phase := func(enable bool) {
		y.do(func() error {
			if enable {
				return p.Enable(datapath.DefaultLimit, time.Hour)
			}
			return p.Disable()
		})
		n, took := y.flood(1000, time.Second, syn())
		sent, arrived, lasted = sent+y.sent, arrived+n, lasted+took
	}
	phase(true)
	for range 4 {
		phase(true) // renewed
	}
	if arrived > 200+int(22*lasted.Seconds())+20 {
		t.Errorf("%d came through in %v at a rate of 20, burst 200", arrived, lasted)
	}
	y.do(p.Disable)
	at := arrived
	y.do(func() error {
		s, err := y.policer().Stats()
		if int(s.Passed()) != at || int(s.Seen) < sent*9/10 {
			t.Errorf("%+v counted, %d came through", s, at)
		}
		return err
	})
	phase(true)
	y.do(func() error {
		s, err := p.Stats()
		if int(s.Passed()) != arrived {
			t.Errorf("%+v counted, %d came through", s, arrived)
		}
		return err
	})
}

// Who is named is held to its own rate, and the others have the rest.
func TestOffendersAreHeld(t *testing.T) {
	y := newYard(t)
	y.opts.Total = datapath.Limit{Rate: 2000, Burst: 2000}
	p := y.policer()
	limit := datapath.Limit{Rate: 50, Burst: 10}
	v4, v6 := netip.PrefixFrom(attackers.Addr(), 32), netip.MustParsePrefix("2001:db8:6::/64")
	other := syn(func(f *te.Frame) { f.Src = netip.MustParseAddr("203.0.113.8") })
	for _, u32 := range []bool{false, true} {
		y.opts.u32 = u32
		p = y.policer()
		y.do(func() error { return p.Enable(limit, time.Hour) })
		start := time.Now()
		y.do(func() error { return p.Hold(start, []netip.Prefix{v4, v6}) })
		for name, frame := range map[string]te.Frame{"IPv4": syn(), "IPv6": syn6(), "tagged": syn(tagged(7)), "IPv6, tagged": syn6(tagged(7))} {
			if n, took := y.flood(1000, time.Second, frame); !within(n, limit, took) {
				t.Errorf("%s, u32 %v: %d in %v", name, u32, n, took)
			}
		}
		if n, took := y.flood(1000, time.Second, other); n < y.sent*9/10 {
			t.Errorf("somebody else: %d in %v", n, took)
		}
		// Another process goes on with them, and lets go of them a minute after they were named last.
		q := y.policer()
		y.do(func() error { return q.Hold(start.Add(time.Second), nil) })
		if n, took := y.flood(1000, time.Second, syn()); !within(n, limit, took) {
			t.Errorf("after a restart: %d in %v", n, took)
		}
		y.do(func() error { return q.Hold(start.Add(62*time.Second), nil) })
		if n, took := y.flood(1000, time.Second, syn()); n < y.sent*9/10 {
			t.Errorf("still held after a minute: %d in %v", n, took)
		}
		// There is no room for more than there is.
		var many []netip.Prefix
		for i := range 100 {
			many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32))
		}
		y.do(func() error { return q.Hold(start.Add(63*time.Second), many) })
		y.do(func() error {
			k, err := q.read()
			if len(k.offenders) != MaxOffenders {
				t.Errorf("%d are held", len(k.offenders))
			}
			return err
		})
		y.do(q.Disable)
		y.do(func() error { _, err := p.Remove(); return err })
	}
}

// It begins and ends as a whole, whichever call of the kernel's fails.
func TestFailureChangesNothing(t *testing.T) {
	y := newYard(t)
	before := y.show()
	y.opts.Management = nil // with some there are ten times as many calls under u32, of the same kind
	for _, u32 := range []bool{false, true} {
		y.opts.u32 = u32
		for n := 1; ; n++ {
			p, calls, failed := y.policer(), 0, false
			var err error
			y.host.Faults(t, func(c te.Call) bool {
				if c.Number != unix.SYS_SENDTO {
					return false
				}
				calls++
				failed = failed || calls == n
				return calls == n
			}, func() { err = p.Enable(datapath.DefaultLimit, time.Hour) })
			if !failed {
				if err != nil || n < 10 {
					t.Errorf("%d calls: %v", n, err)
				}
				break
			}
			if err == nil {
				t.Errorf("u32 %v: call %d failed, and nobody said so", u32, n)
			}
			if now := y.show(); !slices.Equal(now, before) {
				t.Fatalf("u32 %v: call %d failed (%v) and left\n%s", u32, n, err, strings.Join(now, "\n"))
			}
		}
		y.do(func() error { _, err := y.policer().Remove(); return err })
	}
}

// Where nothing else counts SYNs, tc does.
func TestCounting(t *testing.T) {
	y := newYard(t)
	p := y.policer()
	y.do(p.Count)
	n, _ := y.flood(1000, time.Second, syn(), syn6())
	y.do(func() error {
		s, err := p.Stats()
		if int(s.Seen) != n || n < y.sent*9/10 || s.Passed() != s.Seen {
			t.Errorf("%+v of %d", s, n)
		}
		return err
	})
	y.do(func() error { return p.Enable(datapath.DefaultLimit, time.Hour) })
	y.do(p.Disable)
	m, _ := y.flood(1000, time.Second, syn(), syn6())
	y.do(func() error {
		s, err := p.Stats()
		if int(s.Seen) != n+m {
			t.Errorf("%+v of %d after it was limited for a while", s, n+m)
		}
		return err
	})
}
