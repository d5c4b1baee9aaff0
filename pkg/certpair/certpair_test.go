package certpair

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// install puts another pair in the place of one, as whoever renews certificates does: file by file.
func install(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	fresh, freshKey := te.NewAuthority(t).Server(t)
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for from, to := range map[string]string{fresh: certificate, freshKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

func TestConfigTakesTheNewPair(t *testing.T) {
	dir := t.TempDir()
	certificate, key := install(t, dir)
	p, err := Load(certificate, key, true)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	cfg := p.Config(func(err error) { said = append(said, err.Error()) })
	shown := func() string {
		t.Helper()
		client, server := net.Pipe()
		defer func() { _ = client.Close() }()
		go func() {
			s := tls.Server(server, cfg)
			_ = s.Handshake()
			_ = server.Close()
		}()
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	first := shown()
	if shown() != first || len(said) > 0 {
		t.Errorf("another one without a change; said %q", said)
	}
	install(t, dir)
	second := shown()
	if second == first || len(said) > 0 {
		t.Errorf("the old one stays; said %q", said)
	}
	if err := os.WriteFile(certificate, []byte("half of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if shown() != second || len(said) != 1 || !strings.Contains(said[0], certificate) {
		t.Errorf("what can't be used: said %q", said)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if shown() != second || len(said) != 2 {
		t.Errorf("without a key: said %q", said)
	}
	install(t, dir)
	if is := shown(); is == first || is == second || len(said) != 2 {
		t.Errorf("not the last; said %q", said)
	}
}

func TestLoadRefuses(t *testing.T) {
	certificate, key := install(t, t.TempDir())
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(certificate, key, true); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	if _, err := Load(certificate, key, false); err != nil {
		t.Errorf("the same where that may be: %v", err)
	}
	if _, err := Load(certificate, key+"x", false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no key: %v", err)
	}
	if err := os.Chtimes(key, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(key, key, false); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("no certificate: %v", err)
	}
}
