package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/door"
	"github.com/weir-sensor/weir/pkg/history"
)

// What wasn't believed when it came isn't after a restart either.
func TestForgeriesStayForgeries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	log := slog.New(slog.DiscardHandler)
	h, err := history.Open(t.Context(), path, history.Limits{}, log)
	must(t, err)
	w := newWeb(t, &fakeBus{}, h)
	forged := bus.Message{
		Topic: root + "/status/rate_limiting", Payload: []byte(`{"command": "enable_rate_limiting", "status": "success", "state": "on"}`), Refused: errors.New("it isn't signed"),
	}
	w.receive(forged)
	forged.Topic, forged.Payload = root+"/metrics/cpu", []byte(`{"cpu_usage": 1}`)
	w.receive(forged)
	must(t, h.Close())

	h, err = history.Open(t.Context(), path, history.Limits{}, log)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	w = newWeb(t, &fakeBus{}, h)
	w.recall(t.Context(), time.Now())
	x := w.snapshot(time.Now(), root)
	if x.Limiting != nil || len(x.Series.CPU.V) != 0 || !w.servers[root].heard.last().IsZero() {
		t.Errorf("believed: %+v, %+v", x.Limiting, x.Series.CPU)
	}
	if rows := x.Rows[tabStatus]; len(rows) != 1 || rows[0].Note != "it isn't signed" {
		t.Errorf("%+v", rows)
	}
	now := time.Now()
	rec := httptest.NewRecorder()
	w.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/api/download?tab=cpu&form=csv&root=%3C103795587%3E/bank_server"+
		"&from="+string(encode(now.Add(-time.Hour).UnixMilli()))+"&to="+string(encode(now.Add(time.Hour).UnixMilli())), nil))
	if got := rec.Body.String(); !strings.HasPrefix(got, "at,topic,payload,refused\n") || !strings.HasSuffix(got, ",it isn't signed\n") {
		t.Error(got)
	}
}

// A browser that stops reading doesn't hold the history for ever.
func TestStalledDownload(t *testing.T) {
	defer func(was time.Duration) { downloadWait = was }(downloadWait)
	downloadWait = 200 * time.Millisecond
	h, err := history.Open(t.Context(), filepath.Join(t.TempDir(), "h.db"), history.Limits{}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { must(t, h.Close()) }()
	w := newWeb(t, &fakeBus{}, h)
	for range 500 {
		w.hear("public/x", strings.Repeat("x", 60_000)) // 30 MB are more than sockets hold
	}
	ended := make(chan struct{})
	handler := w.handler()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer close(ended)
		handler.ServeHTTP(rw, r)
	}))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	must(t, err)
	defer c.Close()
	time.Sleep(500 * time.Millisecond) // for the history to have it
	_, err = io.WriteString(c, "GET /api/download?tab=public&form=json&from="+string(encode(time.Now().Add(-time.Hour).UnixMilli()))+
		"&to="+string(encode(time.Now().Add(time.Minute).UnixMilli()))+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	must(t, err)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the download waits for ever")
	}
}

// Strangers' connections make room for each other, not open pages for them.
func TestCrowd(t *testing.T) {
	cfg := testConfig
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	cfg.Listen = l.Addr().String()
	must(t, l.Close())
	w, err := New(cfg, &fakeBus{}, nil, nil, nil, slog.New(slog.DiscardHandler))
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- w.Run(ctx, sync.OnceFunc(func() { close(ready) })) }()
	defer func() { stop(); must(t, <-ended) }()
	<-ready
	page, _, err := websocket.Dial(t.Context(), "ws://"+cfg.Listen+"/api/live", nil)
	must(t, err)
	defer func() { _ = page.CloseNow() }()
	page.SetReadLimit(1 << 20)
	var crowd []net.Conn
	for range door.Default.Waiting + 50 {
		c, err := net.Dial("tcp", cfg.Listen)
		must(t, err)
		defer c.Close()
		crowd = append(crowd, c)
	}
	_ = crowd[0].SetReadDeadline(time.Now().Add(time.Second)) // before a header is due
	if _, err := crowd[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest stranger is still there: %v", err)
	}
	r, err := http.Get("http://" + cfg.Listen + "/api/session")
	must(t, err)
	if r.Body.Close(); r.StatusCode != http.StatusOK {
		t.Error(r.Status)
	}
	w.hear(root+"/metrics/cpu", `{"cpu_usage": 5}`)
	(&browser{t, page}).next("event")
}

func TestPagesOfOneAreBounded(t *testing.T) {
	var h hub
	for range maxOfOne {
		if !h.add(&viewer{name: "mallory"}) {
			t.Fatal("refused early")
		}
	}
	if h.add(&viewer{name: "mallory"}) || !h.add(&viewer{name: "alice"}) || !h.add(&viewer{}) {
		t.Error("who is let in?")
	}
}
