package metrics

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// A certificate that can't be read yet is taken once it can be.
func TestCertificateThatComesLater(t *testing.T) {
	defer func(was time.Duration) { retryEvery = was }(retryEvery)
	retryEvery = 10 * time.Millisecond
	dir := t.TempDir()
	cfg := Config{Listen: freeAddress(t), TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem")}
	cert, key := te.NewAuthority(t).Server(t)
	failed := make(chan struct{}, 1000)
	log := slog.New(slog.NewTextHandler(signal(failed), &slog.HandlerOptions{Level: slog.LevelError}))
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	running.Go(func() { _ = New("", "").Run(ctx, cfg, log) })
	<-failed
	for from, to := range map[string]string{key: cfg.TLSKey, cert: cfg.TLSCert} {
		if err := os.Link(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", cfg.Listen, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// signal is told of each line.
type signal chan struct{}

func (s signal) Write(b []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(b), nil
}

// A site whose name is made to lead to loopback reads no profile by the browser of whoever watches.
func TestProfilesAreThisMachinesAlone(t *testing.T) {
	for host, want := range map[string]int{
		"127.0.0.1:6060": 200, "localhost:6060": 200, "[::1]:6060": 200, "127.0.0.1": 200, "[::1]": 200, "localhost": 200,
		"evil.example:6060": 421, "evil.example": 421, "127.0.0.1.evil.example:6060": 421, "198.51.100.1:6060": 421, "": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/debug/pprof/cmdline", nil)
		r.Host = host
		w := httptest.NewRecorder()
		profiles().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: status %d", host, w.Code)
		}
	}
}
