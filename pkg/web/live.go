package web

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

const (
	maxSaid   = 1 << 10
	writeWait = 10 * time.Second
	pingEvery = 5 * time.Second
	beatEvery = 2 * time.Second

	signedOut = websocket.StatusCode(4401) // as the page knows it
)

// live is a browser's connection: what is known first, then what happens. The browser says which server it shows.
func (w *Web) live(rw http.ResponseWriter, r *http.Request) {
	who, _ := w.who(r) // signedIn has asked
	v := &viewer{wake: make(chan struct{}, 1), name: who.Name}
	if !w.hub.add(v) {
		refuse(rw, http.StatusServiceUnavailable, "too many pages are open")
		return
	}
	defer w.hub.remove(v)
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{}) // another site's page is refused
	if err != nil {
		return // it has said so
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(maxSaid)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	v.show(w.cfg.Root.String())
	v.tellChanged()
	go func() {
		defer cancel()
		w.listen(ctx, c, v)
	}()
	h := hello{
		Type: "hello", Version: w.cfg.Version, Root: w.cfg.Root.String(), Interval: w.cfg.Interval.Milliseconds(),
		Thresholds: w.cfg.Thresholds, Tabs: tabs, History: w.history != nil,
	}
	if write(ctx, c, encode(h)) != nil {
		return
	}
	w.speak(ctx, c, v, func() bool {
		_, ok := w.who(r) // an open page is in use
		return ok
	})
}

// listen reads what the browser asks for.
func (w *Web) listen(ctx context.Context, c *websocket.Conn, v *viewer) {
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return
		}
		var said struct {
			Show string `json:"show"`
		}
		if json.Unmarshal(b, &said) != nil {
			return
		}
		if root, ok := w.known(said.Show); ok {
			v.show(root)
		}
	}
}

// speak sends what is new until the browser is gone, or whoever sits before it has been signed out.
func (w *Web) speak(ctx context.Context, c *websocket.Conn, v *viewer, still func() bool) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	beat := time.NewTicker(beatEvery) // so that a page knows that nothing is new, rather than that nothing comes through
	defer beat.Stop()
	for {
		select {
		case <-v.wake:
			if w.tell(ctx, c, v) != nil {
				return
			}
		case now := <-beat.C:
			if write(ctx, c, encode(map[string]any{"type": "beat", "now": now.UnixMilli()})) != nil {
				return
			}
		case <-ping.C:
			if !still() {
				_ = c.Close(signedOut, "signed out")
				return
			}
			late, cancel := context.WithTimeout(ctx, writeWait)
			err := c.Ping(late)
			cancel()
			if err != nil {
				return
			}
		case <-ctx.Done():
			_ = c.Close(websocket.StatusGoingAway, "weir ends")
			return
		}
	}
}

func (w *Web) tell(ctx context.Context, c *websocket.Conn, v *viewer) error {
	w.mu.Lock()
	now := time.Now()
	x := v.take()
	var messages [][]byte
	if x.changed {
		messages = append(messages, encode(w.conditions(now)))
	}
	if x.anew {
		messages = append(messages, encode(w.snapshot(now, x.root)))
		v.caughtUp(x.root)
	}
	w.mu.Unlock()
	for _, b := range append(messages, x.events...) {
		if err := write(ctx, c, b); err != nil {
			return err
		}
	}
	return nil
}

func write(ctx context.Context, c *websocket.Conn, b []byte) error {
	late, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return c.Write(late, websocket.MessageText, b)
}
