package metrics

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weir-sensor/weir/pkg/certpair"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/door"
)

// Config is where to listen.
type Config struct {
	Listen          string // address:port; "" for not at all
	TLSCert, TLSKey string // files; "" for plain HTTP
	Token           string // that a scraper must show; "" for none
	Pprof           string // address:port on loopback; "" for not at all
}

// Validate names what is wrong.
func (c Config) Validate() error {
	var errs []error
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("metrics.tls-cert and metrics.tls-key belong together: give both or none"))
	}
	for _, a := range []struct{ key, value string }{{"metrics.listen", c.Listen}, {"metrics.pprof", c.Pprof}} {
		if _, _, err := net.SplitHostPort(a.value); a.value != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s %q: give address:port, like 127.0.0.1:9732", a.key, a.value))
		} else if a.key == "metrics.pprof" && a.value != "" && !loopback(a.value) {
			errs = append(errs, fmt.Errorf("metrics.pprof %s is beyond loopback, where profiles tell too much: give 127.0.0.1:PORT", a.value))
		}
	}
	return errors.Join(errs...)
}

func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

var retryEvery = 10 * time.Second // tests have less time

const (
	shutdownWait  = time.Second
	complainEvery = time.Minute
	maxScrapes    = 4                // at a time
	maxWaiting    = 64               // connections; the oldest makes room
	takeWithin    = 10 * time.Second // an answer: who doesn't must not keep scrapes from others
)

// Run serves until ctx ends. Nothing depends on it: an address that can't be listened on is logged and tried again.
func (e *Exporter) Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	own, err := e.handler(cfg, log)
	if err != nil {
		return err
	}
	if cfg.Listen != "" && !loopback(cfg.Listen) && cfg.Token == "" {
		log.Warn("whoever reaches the metrics can read them: give metrics.token-file, or see to it that only Prometheus does", "address", cfg.Listen)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		keepServing(ctx, "profiles", cfg.Pprof, Config{}, profiles(), log)
	}()
	keepServing(ctx, "metrics", cfg.Listen, cfg, own, log)
	<-ended
	return nil
}

func keepServing(ctx context.Context, what, address string, cfg Config, h http.Handler, log *slog.Logger) {
	for address != "" && ctx.Err() == nil {
		if err := serve(ctx, what, address, cfg, h, log); err != nil {
			log.Error("no "+what+": everything else goes on, and it is tried again", "err", err)
		}
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
		}
	}
}

func serve(ctx context.Context, what, address string, cfg Config, h http.Handler, log *slog.Logger) error {
	var secure *tls.Config
	if cfg.TLSCert != "" {
		pair, err := certpair.Load(cfg.TLSCert, cfg.TLSKey, false)
		if err != nil {
			return err
		}
		complaints := console.Complaints{Log: log, Every: complainEvery}
		secure = pair.Config(func(err error) {
			complaints.Warn(time.Now(), "the old certificate goes on being shown with "+what, "err", err)
		})
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := &http.Server{
		TLSConfig: secure,
		Handler:   h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() {
		late, end := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
		defer end()
		_ = s.Shutdown(late)
	})()
	log.Info(what+" are served", "address", l.Addr().String(), "tls", cfg.TLSCert != "")
	l = door.New(door.Limits{Waiting: maxWaiting}, func(string, ...any) {}).Guard(l)
	if secure != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(err, s.Close())
}

// Handler serves /metrics, /healthz and /readyz. The first wants the token, if there is one; the others tell little.
func (e *Exporter) handler(cfg Config, log *slog.Logger) (http.Handler, error) {
	r, err := e.registry()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	scrape := promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	})
	mux.Handle("GET /metrics", allowed(cfg.Token, hurried(scrape)))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", e.serveReady)
	return mux, nil
}

// hurried gives up an answer that isn't taken.
func hurried(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(takeWithin)) // tests' recorders have none
		next.ServeHTTP(w, r)
	})
}

func allowed(token string, next http.Handler) http.Handler {
	if token == "" {
		return next
	}
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(shown))
		if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "show the token of metrics.token-file: Authorization: Bearer TOKEN", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// profiles are what net/http/pprof serves, which puts itself on the default mux only.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return here(mux)
}

// here refuses names that aren't this machine's: another site's name may be made to lead here, from the browser of whoever watches (DNS
// rebinding).
func here(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "80")
		}
		if !loopback(host) {
			http.Error(w, "profiles are for this machine alone: ask for them at 127.0.0.1", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
