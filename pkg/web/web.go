// Package web shows what comes over the broker to people with a browser, and sends their commands. It needs the broker only: no
// privilege, no other access to a server.
package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-sensor/weir/pkg/audit"
	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/history"
	"github.com/weir-sensor/weir/pkg/web/signin"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Bus is the connection to the broker.
type Bus interface {
	Publish(context.Context, bus.Publication) error
	Subscribe(filter string, h func(bus.Message)) error
	Connected() bool
}

// History keeps what came, longer than memory does.
type History interface {
	Add(history.Record)
	Each(context.Context, history.Query, func(history.Record) error) error
	Roots(context.Context, time.Time) ([]string, error)
}

// Gate asks people who they are. Without one everybody may command.
type Gate interface {
	http.Handler // signs in and out
	Who(*http.Request) (signin.Person, bool)
}

// Web is the page's server.
type Web struct {
	cfg        Config
	bus        Bus
	history    History // nil for none
	gate       Gate    // nil for none
	audit      *audit.Log
	log        *slog.Logger
	complaints console.Complaints
	hub        hub

	mu        sync.Mutex // over everything that is known; a viewer's state and events are put in order by it
	servers   map[string]*server
	public    *rows
	connected bool
	told      string // conditions, as viewers know them

	serving atomic.Bool
}

const (
	maxServers   = 256 // names come from outside
	tickEvery    = time.Second
	shutdownWait = 2 * time.Second
	warnEvery    = time.Minute
)

// New returns a server of the page. h may be nil, and so may g unless cfg has users.
func New(cfg Config, b Bus, h History, g Gate, a *audit.Log, log *slog.Logger) (*Web, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Users != (g != nil) {
		return nil, errors.New("users and a gate belong together")
	}
	w := &Web{
		cfg: cfg, bus: b, history: h, gate: g, audit: a, log: log, complaints: console.Complaints{Log: log, Every: warnEvery},
		servers: map[string]*server{}, public: &rows{},
	}
	w.servers[cfg.Root.String()] = newServer(cfg.Root.String())
	return w, nil
}

// Run serves until ctx ends; it is not to be run again. It calls alive when it listens, and then each second. Errors are an address that can't be listened on, and subscriptions that the
// broker refuses.
func (w *Web) Run(ctx context.Context, alive func()) error {
	w.recall(ctx, time.Now())
	if err := w.subscribe(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", w.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for browsers: %w: choose another web.listen", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &http.Server{
		Handler: w.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withConn,
		ErrorLog:    slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- w.serve(s, w.door().Guard(l)) }()
	w.serving.Store(true)
	defer w.serving.Store(false)
	w.log.Info("the page is served", "url", w.url(l.Addr()))
	alive()
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			w.tick(now)
			alive()
		case err := <-failed:
			return fmt.Errorf("serve the page: %w", err)
		case <-ctx.Done():
			cancel()
			late, end := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
			defer end()
			if err := s.Shutdown(late); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		}
	}
}

func (w *Web) subscribe() error {
	filters := map[string]bool{wire.PublicFilter: true}
	for _, root := range append([]string{w.cfg.Root.String()}, w.cfg.Watch...) {
		for _, under := range []string{"/metrics/#", "/alerts", "/status/#", "/control/command"} {
			filters[root+under] = true
		}
	}
	for _, f := range slices.Sorted(maps.Keys(filters)) {
		if err := w.bus.Subscribe(f, w.receive); err != nil {
			return fmt.Errorf("web: %w", err)
		}
	}
	return nil
}

// receive takes a message: into memory, into the history, to the browsers.
func (w *Web) receive(msg bus.Message) {
	now := time.Now()
	e, ok := newEvent(now, msg)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.serverOf(e.root)
	if e.root != "" && s == nil {
		w.complaints.Warn(now, "too many servers: those beyond are not shown", "root", wire.Describe([]byte(e.root)))
		return
	}
	if msg.Retained && !w.news(s, e) {
		return // told again at a reconnect
	}
	was, known := w.judge(s, now)
	w.take(s, e)
	if w.history != nil {
		w.history.Add(e.record())
	}
	e.payload = nil
	if !w.hub.empty() {
		b := encode(map[string]any{"type": "event", "event": e})
		w.hub.each(func(v *viewer) { v.send(e.root, b) })
	}
	if is, _ := w.judge(s, now); !known || is != was {
		w.tellConditions(now) // figures can wait for the next tick
	}
}

// judge gives what is said of a server in words, and whether anything is; there is nothing to say of public messages.
func (w *Web) judge(s *server, now time.Time) (Condition, bool) {
	if s == nil {
		return "", true
	}
	return s.condition(now, w.cfg.Interval, w.cfg.Thresholds), !s.heard.last().IsZero()
}

// news tells whether a retained message says other than the last on its topic did.
func (w *Web) news(s *server, e *event) bool {
	r := w.public
	if s != nil {
		r = s.rows[e.Tab]
	}
	for _, old := range slices.Backward(r.all) {
		if old.topic == e.topic {
			return old.Text != e.Text
		}
	}
	return true
}

func (w *Web) take(s *server, e *event) {
	if s == nil {
		w.public.add(e)
		return
	}
	s.take(e)
}

// serverOf makes one if there is room.
func (w *Web) serverOf(root string) *server {
	s := w.servers[root]
	if s == nil && root != "" && len(w.servers) < maxServers {
		s = newServer(root)
		w.servers[root] = s
	}
	return s
}

// tick notices what comes by waiting: silence, and a broker that is away.
func (w *Web) tick(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connected = w.bus.Connected()
	w.tellConditions(now)
}

// tellConditions spares who isn't there: a page that is opened is told anyway.
func (w *Web) tellConditions(now time.Time) {
	if w.hub.empty() {
		w.told = ""
		return
	}
	if told := string(encode(w.conditions(now))); told != w.told {
		w.told = told
		w.hub.each((*viewer).tellChanged)
	}
}

// recall reads the last hour from the history.
func (w *Web) recall(ctx context.Context, now time.Time) {
	if w.history == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	since := now.Add(-hour)
	roots, err := w.history.Roots(ctx, since)
	if err != nil {
		w.log.Warn("the history can't be read: the page begins empty", "err", err)
		return
	}
	for _, root := range append(roots, "") {
		var all []*event
		for _, tab := range tabs { // each by itself, so that much of one leaves none out of another
			some, err := w.newest(ctx, history.Query{Root: root, Kinds: []string{tab}, Since: since, Limit: maxRows})
			if err != nil {
				w.log.Warn("the history can't be read: the page lacks some", "err", err)
			}
			all = append(all, some...)
		}
		slices.SortFunc(all, func(a, b *event) int { return cmp.Compare(a.ID, b.ID) })
		for _, e := range all {
			if s := w.serverOf(e.root); s != nil || e.root == "" {
				w.take(s, e)
			}
		}
	}
}
