package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

var (
	errStarting = errors.New("it is starting") // said of a component that hasn't begun
	errHangs    = errors.New("it doesn't answer")
)

// Expect says that there will be a component: it isn't ready before Ready was called for it.
func (e *Exporter) Expect(component string) {
	e.Ready(component, func(context.Context) error { return errStarting })
}

// Ready says how to find out whether a component does its job; nil is for one that does as long as it runs. The error says why not.
func (e *Exporter) Ready(component string, check func(context.Context) error) {
	if check == nil {
		check = func(context.Context) error { return nil }
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ready[component] = check
}

// serveReady tells of each component in a line. The status is 503 if one doesn't do its job.
func (e *Exporter) serveReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	e.mu.Lock()
	checks := maps.Clone(e.ready)
	e.mu.Unlock()
	type result struct {
		name string
		err  error
	}
	results := make(chan result, len(checks))
	found := map[string]error{}
	for name, check := range checks { // side by side, as in Collect
		found[name] = errHangs
		go func() { results <- result{name, check(ctx)} }()
	}
	for range checks {
		select {
		case r := <-results:
			found[r.name] = r.err
		case <-ctx.Done():
		}
	}
	var text strings.Builder
	status := http.StatusOK
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if err := found[name]; err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&text, "%s: not ready: %v\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		} else {
			fmt.Fprintf(&text, "%s: ready\n", name)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text.String())) // whoever asked is gone
}
