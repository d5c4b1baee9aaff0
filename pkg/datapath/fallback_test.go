package datapath

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

var (
	// unspecified takes IPv4 too, by mapped addresses.
	unspecified = netip.AddrPortFrom(netip.IPv6Unspecified(), bankPort)
	scales      = regexp.MustCompile(`wscale:(\d+),(\d+)`)
	notTouched  = [2]string{"1", "1"}
	armed       = [2]string{"2", "2"}
)

// eachFallback runs a test in banks with either kind of listener that takes the kernel's own cookies alone. The settings are as
// kernels have them by default.
func eachFallback(t *testing.T, f func(t *testing.T, b *challenged)) {
	for name, old := range map[string]bool{"MPTCP": false, "before Linux 6.9": true} {
		if os.Getenv("VM") != "" && !old && t.Name() != "TestConnectionsByTheKernelsCookies" {
			continue // such a kernel has one way for both, and attaching takes seconds there
		}
		t.Run(name, func(t *testing.T) {
			b := newChallengedAs(t, old)
			b.reset()
			b.set(ChallengeAlways)
			f(t, b)
		})
	}
}

// listenFallback listens with a socket that takes the kernel's own cookies alone.
func (b *challenged) listenFallback() net.Listener {
	if b.opts.kernelCookies {
		return b.Bank.Listen(b.t, unspecified)
	}
	return b.listenMPTCP(unspecified, func(int) error { return nil })
}

// fallbackBank is a bank with an MPTCP listener under challenge.
func fallbackBank(t *testing.T) *challenged {
	t.Helper()
	b := newChallenged(t)
	b.reset()
	b.serve(b.listenFallback())
	b.set(ChallengeAlways)
	return b
}

func (b *challenged) listenMPTCP(at netip.AddrPort, change func(fd int) error) net.Listener {
	return b.listenWith(at, true, change)
}

// listenWith listens in the bank with a socket that is changed before it does.
func (b *challenged) listenWith(at netip.AddrPort, mptcp bool, change func(fd int) error) net.Listener {
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		e := c.Control(func(fd uintptr) { err = change(int(fd)) })
		return errors.Join(e, err)
	}}
	cfg.SetMultipathTCP(mptcp)
	var l net.Listener
	b.Bank.Do(b.t, func() {
		var err error
		l, err = cfg.Listen(context.Background(), "tcp", at.String())
		must(b.t, err)
	})
	b.t.Cleanup(func() { l.Close() })
	return l
}

func (b *challenged) reset() {
	b.Bank.Sysctl(b.t, "net/ipv4/tcp_syncookies", "1")
	b.Bank.Sysctl(b.t, "net/ipv4/tcp_timestamps", "1")
}

func (b *challenged) tend() (err error) {
	b.Bank.Do(b.t, func() { err = NewSwitch(b.opts.BPFFS, b.opts.Interface).TendFallback() })
	return err
}

// arm makes the fallback wanted, by a connection that the kernel takes, and then to be had. The connection ends at once: an
// ACK of it, like a keepalive, wants the fallback, too.
func (b *challenged) arm() {
	b.t.Helper()
	c := b.dial(b.Bank.Addr(bankPort)).(*net.TCPConn)
	roundTrip(b.t, c)
	must(b.t, errors.Join(c.SetLinger(0), c.Close()))
	must(b.t, b.tend())
	settle()
	b.wantSettings(armed)
}

// wantSettings compares tcp_syncookies and tcp_timestamps.
func (b *challenged) wantSettings(want [2]string) {
	b.t.Helper()
	var got [2]string
	b.Bank.Do(b.t, func() {
		for i, name := range []string{"tcp_syncookies", "tcp_timestamps"} {
			v, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
			must(b.t, err)
			got[i] = strings.TrimSpace(string(v))
		}
	})
	if got != want {
		b.t.Errorf("tcp_syncookies and tcp_timestamps are %v, want %v", got, want)
	}
}

func (b *challenged) wantFallback(want Fallback) {
	b.t.Helper()
	if c, err := b.a.Control(); err != nil || c.Fallback != want {
		b.t.Errorf("fallback %v, want %v; %v", c.Fallback, want, err)
	}
}

// age makes the fallback's moments of the past lie further back.
func (b *challenged) age(d time.Duration) {
	b.t.Helper()
	b.changeFallback(func(raw *bpfWeirFallback) {
		raw.WantedNs -= uint64(d)
		if raw.EndedNs != 0 {
			raw.EndedNs -= uint64(d)
		}
	})
}

func (b *challenged) changeFallback(f func(*bpfWeirFallback)) {
	b.Bank.Do(b.t, func() {
		p, err := locate(b.opts.BPFFS, b.opts.Interface)
		must(b.t, err)
		o, err := p.open()
		must(b.t, err)
		raw, err := readFallback(o.maps[bpfMapFallback])
		must(b.t, err)
		f(&raw)
		must(b.t, errors.Join(writeFallback(o.maps[bpfMapFallback], raw), o.close()))
	})
}

func TestListenersAreLeftAloneUntilTheFallbackIsArmed(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) {
		b.serve(b.listenFallback())
		roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
		if n := b.txs(); n != 0 {
			t.Errorf("%d SYNs were challenged", n)
		}
		b.wantFallback(FallbackIdle)
		b.wantSettings(notTouched)
	})
}

func TestConnectionsByTheKernelsCookies(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) {
		b.serve(b.listenFallback())
		b.arm()
		b.wantFallback(FallbackOn)
		b.Customer.Sysctl(t, "net/ipv4/tcp_ecn", "1") // asks for it; the kernel remembers it by the timestamp
		for _, row := range []struct {
			name    string
			sysctl  string
			options []string
		}{
			{"all options", "", []string{"ts", "sack", "wscale", "ecn"}},
			{"no SACK", "net/ipv4/tcp_sack", []string{"ts", "wscale", "ecn"}},
			{"no window scale either", "net/ipv4/tcp_window_scaling", []string{"ts", "ecn"}},
			{"no timestamps either", "net/ipv4/tcp_timestamps", nil},
		} {
			if row.sysctl != "" {
				b.Customer.Sysctl(t, row.sysctl, "0")
			}
			for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
				before, cookies := b.txs(), b.cookies()
				c := b.dial(to)
				roundTrip(t, c)
				facts := b.facts(c)
				bank, customer, _ := strings.Cut(facts, " | ")
				for _, option := range []string{"ts", "sack", "wscale", "ecn"} {
					want := slices.Contains(row.options, option)
					if strings.Contains(" "+bank, " "+option) != want || strings.Contains(" "+customer, " "+option) != want {
						t.Errorf("%s, %v: %s is there or isn't: %s", row.name, to, option, facts)
					}
				}
				if x, y := scales.FindStringSubmatch(bank), scales.FindStringSubmatch(customer); x != nil && (x[1] != y[2] || x[2] != y[1]) {
					t.Errorf("%s, %v: the ends don't agree: %s", row.name, to, facts)
				}
				now := b.cookies()
				if n := b.txs() - before; n != 1 || now.Kernel != cookies.Kernel+1 || now.Refused+now.Late != 0 {
					t.Errorf("%s, %v: %d SYNs answered, cookies %+v, before %+v", row.name, to, n, now, cookies)
				}
			}
		}
	})
}

func TestInnocentClientsUnderTheKernelsCookies(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) {
		b.serve(b.listenFallback())
		old := b.dial(b.Bank.Addr(bankPort))
		b.arm()
		before := b.txs()
		f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources})
		time.Sleep(100 * time.Millisecond)
		b.visits(b.Bank.Addr(bankPort), 900*time.Millisecond)
		b.visits(b.Bank.Addr6(bankPort), 900*time.Millisecond)
		roundTrip(t, old)
		sent := f.Stop()
		if n := b.txs() - before; n < sent/2 || n < 1000 {
			t.Errorf("%d of %d SYNs were answered by cookies", n, sent)
		}
		if c := b.cookies(); c.Kernel < 1000 || c.Accepted+c.Refused+c.Late != 0 {
			t.Errorf("cookies %+v after 1000 connections", c)
		}
	})
}

func TestForgedKernelCookiesAreDropped(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) {
		b.serve(b.listenFallback())
		b.arm()
		const n = 500
		var frames [][]byte
		for i := range uint32(n) {
			frames = append(frames, te.Frame{
				SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), Dst: b.Bank.IPv4,
				L4: te.TCP{SrcPort: 1234, DstPort: bankPort, Seq: i, Ack: i * 0x9e3779b9, Flags: te.ACK},
			}.Bytes())
		}
		te.SendFrames(t, b.Attacker, b.Attacker.Interface, frames)
		c, err := b.a.Counters()
		must(t, err)
		if got := c[ClassTCP][VerdictDrop][ReasonCookie].Packets; got != n {
			t.Errorf("%d of %d forged ACKs were dropped", got, n)
		}
	})
}

func TestListenersWithASmallBufferAreLeftToTheKernel(t *testing.T) {
	b := newChallenged(t)
	b.reset()
	b.serve(b.listenMPTCP(unspecified, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) }))
	b.set(ChallengeAlways)
	roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	must(t, b.tend())
	b.wantSettings(notTouched)
}

// The settings are made once the challenge has begun; from then on a spoofed SYN leaves no trace.
func TestAutoInPeaceWantsNoFallback(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) {
		b.serve(b.listenFallback())
		b.policy(auto)
		for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
			roundTrip(t, b.dial(to))
		}
		must(t, b.tend())
		b.wantSettings(notTouched)
	})
}

func TestAutoUnderTheKernelsCookies(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) {
		b.serve(b.listenFallback())
		b.enable(DefaultLimit)
		b.policy(auto)
		f := te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources})
		b.awaitChallenge(true, 5*time.Second)
		must(t, b.tend())
		b.wantSettings(armed)
		settle()
		entered, answered := b.entered(), b.txs()
		for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
			if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: to, N: 100}); r.OK != 100 {
				t.Errorf("to %v: %v", to, r)
			}
		}
		if n, c := b.entered(), b.cookies(); n != entered || c.Kernel < 2 {
			t.Errorf("%d sources in the table, %d before: spoofed SYNs were entered; cookies %+v", n, entered, c)
		}
		sent := f.Stop()
		if n := b.txs() - answered; n < sent/4 || n < 1000 {
			t.Errorf("%d of %d SYNs were answered by cookies", n, sent)
		}
	})
}
