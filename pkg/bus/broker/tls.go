package broker

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/secretfile"
)

// secure puts TLS on a listener's connections. Sessions aren't resumed: a revoked client would be spared the handshake.
func secure(l net.Listener, m *members) net.Listener {
	if m == nil {
		return l
	}
	base := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return m.pair.get(), nil },
	}
	if m.trust.TLS12 {
		base.MinVersion = tls.VersionTLS12
	}
	cfg := base.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = m.current.Load().roots
		return c, nil
	}
	return tls.NewListener(l, cfg)
}

// pair is the broker's certificate and key, which may be renewed while it runs.
type pair struct {
	certificate, key string

	mu       sync.Mutex
	loaded   *tls.Certificate
	modified [2]time.Time
}

func newPair(certificate, key string) (*pair, error) {
	p := &pair{certificate: certificate, key: key}
	return p, p.refresh()
}

func (p *pair) get() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loaded
}

// refresh reads the files if they were changed. The old pair stays if the new one is no good.
func (p *pair) refresh() error {
	var modified [2]time.Time
	for i, path := range []string{p.certificate, p.key} {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("the broker's certificate and key: %w", err)
		}
		if path == p.key && !secretfile.Private(path, info) {
			return fmt.Errorf("%s: others may read this private key: chmod 600 %s", path, path)
		}
		modified[i] = info.ModTime()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded != nil && modified == p.modified {
		return nil
	}
	c, err := tls.LoadX509KeyPair(p.certificate, p.key)
	if err != nil {
		return fmt.Errorf("the broker's certificate %s and key %s: %w", p.certificate, p.key, err)
	}
	p.loaded, p.modified = &c, modified
	return nil
}
