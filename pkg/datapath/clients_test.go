package datapath

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const bulkBytes = 100 << 20

// pages serves a short page, and tells the digest of what is sent to it.
func (b *challenged) pages(l net.Listener, bulk []byte) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "your balance\n") })
	mux.HandleFunc("GET /bulk", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bulk) })
	mux.HandleFunc("PUT /bulk", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		_, _ = io.Copy(h, r.Body)
		_, _ = io.WriteString(w, hex.EncodeToString(h.Sum(nil)))
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: te.ConnectTimeout}
	go func() { _ = s.Serve(l) }()
	b.t.Cleanup(func() { s.Close() })
}

// newFlooded makes a bank under challenge whose SYNs come from everywhere while the test lasts.
func newFlooded(t *testing.T) *challenged {
	t.Helper()
	b := newChallenged(t)
	b.set(ChallengeAlways)
	te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources, Rate: 10_000})
	return b
}

func TestRealClientsDuringAFlood(t *testing.T) {
	te.Tool(t, "curl", "wrk", "python3")
	b := newFlooded(t)
	b.pages(b.Bank.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), bankPort)), nil)
	for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
		url := "http://" + to.String() + "/"
		if got := b.Customer.Run(t, "curl", "-sS", "-m", "5", url, url); strings.Count(got, "your balance\n") != 2 {
			t.Errorf("curl %s: %q", url, got)
		}
		script := "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=5).read().decode())"
		if got := b.Customer.Run(t, "python3", "-c", script, url); got != "your balance\n" {
			t.Errorf("python3 %s: %q", url, got)
		}
		for _, header := range []string{"Connection: keep-alive", "Connection: close"} {
			got := b.Customer.Run(t, "wrk", "-t1", "-c20", "-d1s", "--timeout", "5s", "-H", header, url)
			if !strings.Contains(got, "requests in") || strings.Contains(got, " 0 requests in") || strings.Contains(got, "Socket errors") ||
				strings.Contains(got, "Non-2xx") {
				t.Errorf("wrk with %q: %s", header, got)
			}
		}
	}
	if c := b.cookies(); c.Accepted < 100 || c.Refused != 0 {
		t.Errorf("cookies %+v", c)
	}
}

// A window scale that the two ends don't agree on makes a transfer crawl or end.
func TestBulkDuringAFlood(t *testing.T) {
	te.Tool(t, "curl")
	b := newFlooded(t)
	bulk := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), bulkBytes/36)
	b.pages(b.Bank.Listen(t, netip.AddrPortFrom(netip.IPv6Unspecified(), bankPort)), bulk)
	file := filepath.Join(t.TempDir(), "bulk")
	must(t, os.WriteFile(file, bulk, 0o600))
	digest := sha256.Sum256(bulk)
	for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
		url := "http://" + to.String() + "/bulk"
		if got := b.Customer.Run(t, "curl", "-sS", "-m", "20", "-T", file, url); got != hex.EncodeToString(digest[:]) {
			t.Errorf("%s got other bytes: digest %s", url, got)
		}
		back := file + ".back"
		b.Customer.Run(t, "curl", "-sS", "-m", "20", "-o", back, url)
		if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, bulk) {
			t.Errorf("%s gave %d other bytes, %v", url, len(got), err)
		}
	}
}

// The customer's MSS as tunnels and jumbo frames have it, and less than the kernel's own cookies can tell.
func TestAnyMSSDuringAFlood(t *testing.T) {
	b := newFlooded(t)
	b.echo()
	for _, advmss := range []string{"88", "536", "1220", "1360", "1440", "1460"} {
		b.Customer.Run(t, "ip", "route", "change", "198.51.100.0/24", "dev", "eth0", "advmss", advmss)
		roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	}
}

// Either link may be the narrower one: what is agreed on is as without a challenge, from the least that IPv4 hosts must take to
// jumbo frames.
func TestAnyMTU(t *testing.T) {
	for _, mtu := range []struct{ bank, customer int }{
		{9000, 9000}, {9000, 1500}, {1500, 9000}, {9000, 1280}, {576, 576},
	} {
		t.Run(fmt.Sprintf("%d to %d", mtu.bank, mtu.customer), func(t *testing.T) {
			b := newBankUnder(t, false, func(n *te.BankNet) { n.MTU(mtu.bank, mtu.customer) })
			b.echo()
			targets := []netip.AddrPort{b.Bank.Addr(bankPort)}
			if min(mtu.bank, mtu.customer) >= 1280 { // IPv6's least
				targets = append(targets, b.Bank.Addr6(bankPort))
			}
			for _, to := range targets {
				b.set(ChallengeNever)
				normal := b.dial(to)
				want := b.facts(normal) // before data adapt the MSS received
				b.set(ChallengeAlways)
				c := b.dial(to)
				if got := b.facts(c); got != want || b.txs() == 0 {
					t.Errorf("%v: challenged\n%s\nnormal\n%s", to, got, want)
				}
				roundTrip(t, normal)
				roundTrip(t, c)
			}
			if c := b.cookies(); int(c.Accepted) != len(targets) || c.Refused+c.Late != 0 {
				t.Errorf("cookies %+v", c)
			}
		})
	}
}

// Data in a SYN, as TCP Fast Open has it (RFC 7413), is not acknowledged, and sent again; the client gets no cookie of that kind.
func TestFastOpenDuringAFlood(t *testing.T) {
	b := newFlooded(t)
	for _, h := range []*te.Host{b.Bank, b.Customer} {
		h.Sysctl(t, "net/ipv4/tcp_fastopen", "3")
	}
	b.serve(b.listenWith(unspecified, false, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16) }))
	for _, when := range []Challenge{ChallengeNever, ChallengeAlways, ChallengeAlways, ChallengeNever} { // the first gets a cookie
		b.set(when)
		for _, to := range []netip.AddrPort{b.Bank.Addr(bankPort), b.Bank.Addr6(bankPort)} {
			start := time.Now()
			d := net.Dialer{Timeout: te.ConnectTimeout, Control: func(_, _ string, c syscall.RawConn) (err error) {
				e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1) })
				return errors.Join(e, err)
			}}
			b.Customer.Do(t, func() {
				c, err := d.Dial("tcp", to.String())
				must(t, err)
				roundTrip(t, c)
				must(t, c.Close())
			})
			if took := time.Since(start); took > 900*time.Millisecond {
				t.Errorf("%v under %v took %v", to, when, took)
			}
		}
	}
	if c := b.cookies(); c.Accepted < 4 || c.Refused != 0 {
		t.Errorf("cookies %+v", c)
	}
	if sent := b.Customer.Run(t, "nstat", "-asz", "TcpExtTCPFastOpenActive"); !regexp.MustCompile(`TCPFastOpenActive +[1-9]`).MatchString(sent) {
		t.Errorf("no SYN had data: %s", sent)
	}
}
