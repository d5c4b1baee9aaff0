package datapath

import (
	"context"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const bankPort = 8443

// challenged is a bank whose listeners, on IPv4 and IPv6, are challenged.
type challenged struct {
	*te.BankNet
	t    *testing.T
	opts Options
	a    *Attachment
}

func newChallenged(t *testing.T) *challenged {
	t.Helper()
	return newChallengedAs(t, false)
}

// newChallengedAs challenges by the kernel's cookies alone if old, as before Linux 6.9.
func newChallengedAs(t *testing.T, old bool) *challenged {
	t.Helper()
	return newBankUnder(t, old, func(*te.BankNet) {})
}

// newBankUnder changes the net before.
func newBankUnder(t *testing.T, old bool, change func(*te.BankNet)) *challenged {
	t.Helper()
	b := &challenged{BankNet: te.Bank(t), t: t}
	change(b.BankNet)
	b.opts = Options{
		Interface: b.Bank.Interface, BPFFS: te.PinDir(t), Limit: DefaultLimit, Sources: MinSources, Version: "test", kernelCookies: old,
	}
	unloadAfter(t, b.Bank, b.opts)
	b.Bank.Do(t, func() {
		var err error
		b.a, err = Attach(b.opts)
		must(t, err)
		if b.a.NoChallenge != nil {
			t.Fatal(b.a.NoChallenge)
		}
		if info, err := b.a.Info(); err != nil || info.KernelCookies != (b.a.NoOwnCookies != nil) || old && !info.KernelCookies {
			t.Fatalf("info %+v, %v; own cookies: %v", info, err, b.a.NoOwnCookies)
		}
	})
	t.Cleanup(func() { must(t, b.a.Close()) })
	return b
}

func (b *challenged) set(c Challenge) {
	b.t.Helper()
	b.enable(Limit{Rate: 10_000, Burst: 10_000}) // all clients share one address
	b.policy(ChallengePolicy{When: c, Unverified: DefaultUnverified})
}

func (b *challenged) enable(l Limit) {
	b.t.Helper()
	b.Bank.Do(b.t, func() { must(b.t, NewSwitch(b.opts.BPFFS, b.opts.Interface).Enable(l, time.Hour)) })
	settle()
}

func (b *challenged) policy(p ChallengePolicy) {
	b.t.Helper()
	b.Bank.Do(b.t, func() { must(b.t, NewSwitch(b.opts.BPFFS, b.opts.Interface).Challenge(p)) })
	settle()
}

// echo listens in the bank on all addresses and sends back what it gets.
func (b *challenged) echo() {
	b.serve(b.Bank.Listen(b.t, netip.AddrPortFrom(netip.IPv6Unspecified(), bankPort)))
}

func (b *challenged) serve(l net.Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
}

func (b *challenged) dial(to netip.AddrPort) net.Conn {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), te.ConnectTimeout)
	defer cancel()
	c, err := b.Customer.Dial(ctx, "tcp", to.String())
	must(b.t, err)
	b.t.Cleanup(func() { c.Close() })
	return c
}

func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	must(t, c.SetDeadline(time.Now().Add(5*time.Second)))
	text := strings.Repeat("money", 10_000)
	go func() { _, _ = io.WriteString(c, text) }()
	got := make([]byte, len(text))
	_, err := io.ReadFull(c, got)
	must(t, err)
	if string(got) != text {
		t.Error("other bytes came back")
	}
}

// txs are the SYNs answered by cookies.
func (b *challenged) txs() uint64 {
	c, err := b.a.Counters()
	must(b.t, err)
	var n uint64
	for _, count := range c[ClassSYN][VerdictTX] {
		n += count.Packets
	}
	return n
}

func (b *challenged) cookies() Cookies {
	c, err := b.a.Cookies()
	must(b.t, err)
	return c
}

// facts are what was agreed on in the handshake, by ss at both ends.
func (b *challenged) facts(c net.Conn) string {
	b.t.Helper()
	wanted := regexp.MustCompile(`\b(ts|sack|ecn|wscale:\d+,\d+|mss:\d+|advmss:\d+|rcvmss:\d+|pmtu:\d+)\b`)
	port := netip.MustParseAddrPort(c.LocalAddr().String()).Port()
	ports := "( sport = :" + itoa(port) + " or dport = :" + itoa(port) + " )"
	var all []string
	for _, h := range []*te.Host{b.Bank, b.Customer} {
		all = append(all, strings.Join(wanted.FindAllString(h.Run(b.t, "ss", "-tienOH", ports), -1), " "))
	}
	return strings.Join(all, " | ")
}

func TestChallengedConnectionLooksNormal(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	for _, row := range []struct {
		name   string
		sysctl string
		value  string
	}{
		{"all options", "net/ipv4/tcp_ecn", "1"},
		{"all but ECN", "net/ipv4/tcp_ecn", "2"},
		{"no timestamps", "net/ipv4/tcp_timestamps", "0"},
		{"neither timestamps nor SACK", "net/ipv4/tcp_sack", "0"},
		{"no options but MSS", "net/ipv4/tcp_window_scaling", "0"},
		{"timestamps alone", "net/ipv4/tcp_timestamps", "1"},
	} {
		b.Customer.Sysctl(t, row.sysctl, row.value)
		for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
			b.set(ChallengeNever)
			normal := b.dial(to)
			roundTrip(t, normal)
			want := b.facts(normal)

			b.set(ChallengeAlways)
			before, cookies := b.txs(), b.cookies()
			c := b.dial(to)
			roundTrip(t, c)
			if got := b.facts(c); got != want || !strings.Contains(got, "mss") || strings.Contains(got, "ecn") != (row.name == "all options") {
				t.Errorf("%s, %v: challenged\n%s\nnormal\n%s", row.name, to, got, want)
			}
			roundTrip(t, normal) // opened before
			if n := b.txs() - before; n != 1 {
				t.Errorf("%s, %v: %d SYNs were answered by cookies", row.name, to, n)
			}
			if now := b.cookies(); now.Accepted != cookies.Accepted+1 || now.Refused+now.Late != 0 {
				t.Errorf("%s, %v: cookies %+v, before %+v", row.name, to, now, cookies)
			}
		}
	}
}

func itoa(n uint16) string { return strconv.Itoa(int(n)) }
