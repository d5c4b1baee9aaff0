package main

import "sync"

// stance is whether SYNs may be challenged now: while limiting is on, as far as the controller knows, or by permission at any time. While
// they can't be, nobody needs to look after that every moment.
type stance struct {
	always bool

	mu      sync.Mutex
	on      bool
	changed chan struct{} // closed when it does
}

func newStance(always bool) *stance { return &stance{always: always, changed: make(chan struct{})} }

// take notes whether limiting is on.
func (s *stance) take(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on != on {
		s.on = on
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// now tells it, and gives what is closed when it becomes different.
func (s *stance) now() (active bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on || s.always, s.changed
}
