package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Protection counts as started without a page that hangs, or else systemd would end it for a start that takes too long.
func TestStartWaitsForNoFreePart(t *testing.T) {
	defer func(was time.Duration) { freeWait = was }(freeWait)
	freeWait = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	said := &watched{text: "msg=ready", then: cancel}
	hang := func(ctx context.Context, _ func()) error { <-ctx.Done(); return nil }
	work := func(ctx context.Context, alive func()) error { alive(); <-ctx.Done(); return nil }
	err := runAll(ctx, slog.New(slog.NewTextHandler(said, nil)), part{name: "sensor", run: work}, part{name: "web", run: hang, free: true})
	if err != nil || !strings.Contains(said.all(), "component=web") {
		t.Errorf("%v\n%s", err, said.all())
	}
}

// watched is a log that does something at a text.
type watched struct {
	mu   sync.Mutex
	log  strings.Builder
	text string
	then func()
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(string(b), w.text) {
		w.then()
	}
	return w.log.Write(b)
}

func (w *watched) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}
