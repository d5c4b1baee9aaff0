package web

// Stats are who looks at the page, and at what.
type Stats struct {
	Serving bool
	Viewers int // open pages
	Servers int // that were heard of, this one included
}

// Stats may be called from any goroutine.
func (w *Web) Stats() Stats {
	s := Stats{Serving: w.serving.Load()}
	w.hub.each(func(*viewer) { s.Viewers++ })
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Servers = len(w.servers)
	return s
}
