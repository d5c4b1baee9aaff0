package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAsk(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		w.Header().Set("Location", "/500")
		w.WriteHeader(code)
	}))
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	for check, want := range map[Check]string{
		"http://127.0.0.1:{n}/200":  "",
		"http://127.0.0.1:{n}/302":  "",
		"http://127.0.0.1:{n}/404":  "answers 404",
		"http://127.0.0.1:{n}/500":  "answers 500",
		"https://127.0.0.1:{n}/200": "HTTP response to HTTPS client",
		"tcp://127.0.0.1:{n}":       "",
	} {
		if err := check.Ask(t.Context(), port); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", check, err)
		}
	}
	s.Close()
	for _, check := range []Check{"http://127.0.0.1:{n}/", "tcp://127.0.0.1:{n}"} {
		if err := check.Ask(t.Context(), port); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: %v", check, err)
		}
	}
}

// What else is in the address may be a secret.
func TestErrorsTellNoSecret(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	check := Check("http://u:hunter2@127.0.0.1:{n}/well?token=hunter2")
	for _, c := range []struct {
		check Check
		want  string
	}{{check, "/well answers 404"}, {check, "/well: dial"}, {"http://u:hunter2/@{n}:x", "its address can't be used"}} {
		if err := c.check.Ask(t.Context(), port); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", c.check, err)
		}
		s.Close()
	}
}

// TestAwait: twice in a row, and else the last reason.
func TestAwait(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := asked.Add(1); n < 3 || n == 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	check := Check(s.URL + "/?{n}")
	if err := check.Await(t.Context(), 1); err != nil || asked.Load() != 6 {
		t.Errorf("after %d: %v", asked.Load(), err)
	}
	asked.Store(-1 << 20)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := check.Await(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "answers 503") {
		t.Error(err)
	}
}
