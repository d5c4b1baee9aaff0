// Package certpair keeps a server's certificate and key, which may be renewed in their files while it runs.
package certpair

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/secretfile"
)

// Pair is a certificate and its key, both PEM. Its methods may be called from any goroutine.
type Pair struct {
	certificate, key string
	private          bool

	mu       sync.Mutex
	loaded   *tls.Certificate
	modified [2]time.Time
}

// Load reads two files. If the key is to be private, one that others may read is refused.
func Load(certificate, key string, private bool) (*Pair, error) {
	p := &Pair{certificate: certificate, key: key, private: private}
	if err := p.Refresh(); err != nil {
		return nil, err
	}
	return p, nil
}

// Current is what was read last.
func (p *Pair) Current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loaded
}

// Refresh reads the files if they were changed. The old pair stays if the new one is no good.
func (p *Pair) Refresh() error {
	var modified [2]time.Time
	for i, path := range []string{p.certificate, p.key} {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("certificate and key: %w", err)
		}
		if p.private && path == p.key && !secretfile.Private(path, info) {
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
		return fmt.Errorf("certificate %s and key %s: %w", p.certificate, p.key, err)
	}
	p.loaded, p.modified = &c, modified
	return nil
}

// Config is a server's that looks at each handshake whether there is a new pair: that costs nothing beside the handshake, and needs no
// signal. complain is told why the old one stays.
func (p *Pair) Config(complain func(error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if err := p.Refresh(); err != nil {
				complain(err)
			}
			return p.Current(), nil
		},
	}
}
