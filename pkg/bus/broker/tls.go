package broker

import (
	"crypto/tls"
	"net"
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
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return m.pair.Current(), nil },
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
