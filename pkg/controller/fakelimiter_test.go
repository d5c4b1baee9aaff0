package controller

import (
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// fakeLimiter is a control map with a lease.
type fakeLimiter struct {
	mu      sync.Mutex
	on      bool
	limit   datapath.Limit
	until   time.Time
	dropped uint64
	err     error
	changes int
}

func (l *fakeLimiter) Enable(limit datapath.Limit, lease time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.on, l.limit, l.until = true, limit, time.Now().Add(lease)
		l.changes++
	}
	return l.err
}

func (l *fakeLimiter) Disable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.on = false
		l.changes++
	}
	return l.err
}

func (l *fakeLimiter) State() (State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{On: l.on, Limit: l.limit, Lease: max(0, time.Until(l.until)), Dropped: l.dropped}, l.err
}

func (l *fakeLimiter) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// flood drops packets for as long.
func (l *fakeLimiter) flood(long time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(time.Second) {
		l.mu.Lock()
		if l.on && time.Now().Before(l.until) {
			l.dropped++
		}
		l.mu.Unlock()
	}
}
