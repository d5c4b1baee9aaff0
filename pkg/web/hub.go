package web

import (
	"sync"
)

// hub hands events to browsers. One that reads slower than they come loses them all at once and is shown the state anew: it never
// costs memory, and never makes another wait.
type hub struct {
	mu      sync.Mutex
	viewers map[*viewer]struct{}
}

// viewer is one open page. wake is 1 deep.
type viewer struct {
	wake chan struct{}
	name string // of whoever has signed in

	mu      sync.Mutex
	root    string // what it shows
	queue   [][]byte
	bytes   int
	behind  bool // it has lost events
	changed bool // the servers' conditions have
}

const (
	maxViewers    = 512
	maxOfOne      = 64 // pages of one user, so that nobody takes all
	maxQueue      = 512
	maxQueueBytes = 1 << 20
)

func (h *hub) add(v *viewer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := 0
	for other := range h.viewers {
		if v.name != "" && other.name == v.name {
			own++
		}
	}
	if len(h.viewers) >= maxViewers || own >= maxOfOne {
		return false
	}
	if h.viewers == nil {
		h.viewers = map[*viewer]struct{}{}
	}
	h.viewers[v] = struct{}{}
	return true
}

func (h *hub) remove(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, v)
}

// empty tells that no page is open.
func (h *hub) empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.viewers) == 0
}

// each calls f for all viewers.
func (h *hub) each(f func(*viewer)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.viewers {
		f(v)
	}
}

// send queues an event for a viewer that shows root, or for all if root is "".
func (v *viewer) send(root string, b []byte) {
	v.mu.Lock()
	if v.behind || root != "" && root != v.root {
		v.mu.Unlock()
		return
	}
	if len(v.queue) >= maxQueue || v.bytes+len(b) > maxQueueBytes {
		v.queue, v.bytes, v.behind = nil, 0, true
	} else {
		v.queue, v.bytes = append(v.queue, b), v.bytes+len(b)
	}
	v.mu.Unlock()
	v.rouse()
}

// tellChanged makes a viewer ask for the conditions.
func (v *viewer) tellChanged() {
	v.mu.Lock()
	v.changed = true
	v.mu.Unlock()
	v.rouse()
}

// show turns to a server: its state is to be sent next.
func (v *viewer) show(root string) {
	v.mu.Lock()
	v.root, v.behind = root, true
	v.queue, v.bytes = nil, 0
	v.mu.Unlock()
	v.rouse()
}

func (v *viewer) rouse() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// waiting is what a viewer is to be sent.
type waiting struct {
	events  [][]byte
	anew    bool // its server's whole state instead
	root    string
	changed bool
}

func (v *viewer) take() waiting {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := waiting{v.queue, v.behind, v.root, v.changed}
	v.queue, v.bytes, v.changed = nil, 0, false
	return w
}

// caughtUp says that what was taken includes a server's state: events go on from there.
func (v *viewer) caughtUp(root string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root == root {
		v.behind = false
	}
}
