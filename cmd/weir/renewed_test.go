package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// Certificates of the page and of metrics that are renewed while weir runs are shown from then on.
func TestRenewedCertificatesAreShown(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	renew := func() {
		t.Helper()
		newCert, newKey := te.NewAuthority(t).Server(t)
		for from, to := range map[string]string{newCert: cert, newKey: key} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	renew()
	s.start("broker")
	const page = "127.0.0.1:8443"
	p := s.start("web", "--web-history", s.history(), "--web-listen", page, "--web-tls-cert", cert, "--web-tls-key", key,
		"--metrics-listen", metricsAddr, "--metrics-tls-cert", cert, "--metrics-tls-key", key)
	shown := func(address string) string {
		t.Helper()
		c, err := s.Bank.Dial(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		client := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return string(client.ConnectionState().PeerCertificates[0].Raw)
	}
	was := shown(page)
	if shown(metricsAddr) != was {
		t.Error("page and metrics show different ones")
	}
	renew()
	for _, address := range []string{page, metricsAddr} {
		if shown(address) == was {
			t.Errorf("%s shows the old one", address)
		}
	}
	is := shown(page)
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{page, metricsAddr} {
		if shown(address) != is {
			t.Errorf("%s shows another one", address)
		}
	}
	p.Await(t, "the page's old certificate goes on being shown", patience)
	p.Await(t, "the old certificate goes on being shown with metrics", patience)
}
