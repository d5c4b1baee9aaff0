package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/weir-sensor/weir/pkg/certpair"
	"github.com/weir-sensor/weir/pkg/door"
)

func (w *Web) serve(s *http.Server, l net.Listener) error {
	if w.cfg.TLSCert == "" {
		return s.Serve(l)
	}
	pair, err := certpair.Load(w.cfg.TLSCert, w.cfg.TLSKey, false)
	if err != nil {
		return err
	}
	s.TLSConfig = pair.Config(func(err error) {
		w.complaints.Warn(time.Now(), "the page's old certificate goes on being shown", "err", err)
	})
	return s.ServeTLS(l, "", "")
}

// door has strangers make room for each other. Browsers come by the name of who sits before them, so nobody is banned for what he asks;
// behind a proxy all come from there.
func (w *Web) door() *door.Door {
	limits := door.Default
	limits.Strikes = 0
	if w.cfg.Proxy {
		limits.PerSource = 0
	}
	return door.New(limits, func(text string, args ...any) { w.complaints.Warn(time.Now(), "the page: "+text, args...) })
}

// connKey is for a request's connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// admit says at the door that a request's sender is known.
func admit(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*door.Conn); ok {
		c.Admit()
	}
}

func (w *Web) url(a net.Addr) string {
	if w.cfg.TLSCert != "" {
		return "https://" + a.String()
	}
	return "http://" + a.String()
}
