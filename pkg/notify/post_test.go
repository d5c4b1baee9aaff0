package notify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	for status, want := range map[int]string{200: "", 204: "", 400: "refused", 404: "again", 401: "again", 408: "again", 429: "again", 500: "again", 503: "again"} {
		err := judge(status, "a\nb\x1b")
		switch {
		case want == "" && err != nil, want != "" && err == nil, want != "" && errors.Is(err, errRefused) != (want == "refused"):
			t.Errorf("%d: %v, want %q", status, err, want)
		case err != nil && strings.ContainsAny(err.Error(), "\n\x1b"):
			t.Errorf("%q isn't one clean line", err)
		}
	}
}

// A redirection isn't followed: what is signed for one receiver is nobody else's. It is tried again, until it is mended.
func TestRedirection(t *testing.T) {
	followed := make(chan string, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { followed <- r.URL.Path }))
	defer elsewhere.Close()
	asked := make(chan string, 10)
	var mended atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		if !mended.Load() {
			http.Redirect(w, r, elsewhere.URL+"/s3cret?token=s3cret", http.StatusTemporaryRedirect)
		}
	}))
	defer hook.Close()
	var logged bytes.Buffer
	n, err := New(Config{Webhook: []string{hook.URL + "/a"}, KeyFile: secret(t, "0123456789abcdef")}, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { n.Run(ctx); close(ended) }()
	n.Notify(alert("syn_packet_count", "raised"))
	<-asked
	<-asked // again
	mended.Store(true)
	for n.Stats()[0].Sent == 0 && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-ended
	if s := n.Stats()[0]; s.Lost != 0 || s.Failed < 2 || len(followed) != 0 {
		t.Errorf("%+v, followed %d times", s, len(followed))
	}
	want := "307 Temporary Redirect: it leads to " + elsewhere.URL + ", and redirections aren't followed: give the address where they end"
	if text := logged.String(); strings.Count(text, want) != 1 || strings.Contains(text, "s3cret") || strings.Count(text, "\n") != 2 {
		t.Errorf("logged %s", text)
	}
}
