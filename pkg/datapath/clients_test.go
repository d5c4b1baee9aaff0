package datapath

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
