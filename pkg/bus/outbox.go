package bus

import "sync"

const outboxLen = 256

// outbox holds what must arrive eventually, oldest first.
type outbox struct {
	mu    sync.Mutex
	queue []*Publication
	wake  chan struct{} // 1 deep
	empty chan struct{} // closed while nothing waits
}

func newOutbox() *outbox {
	o := &outbox{wake: make(chan struct{}, 1), empty: make(chan struct{})}
	close(o.empty)
	return o
}

// put appends, and reports whether an older message had to go that wasn't superseded.
func (o *outbox) put(p Publication) (lost bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.empty = make(chan struct{})
	}
	if p.Retain {
		o.remove(func(q *Publication) bool { return q.Retain && q.Topic == p.Topic })
	}
	if lost = len(o.queue) == outboxLen; lost {
		o.queue = append(o.queue[:0], o.queue[1:]...)
	}
	o.queue = append(o.queue, &p)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return lost
}

func (o *outbox) remove(gone func(*Publication) bool) {
	kept := o.queue[:0]
	for _, q := range o.queue {
		if !gone(q) {
			kept = append(kept, q)
		}
	}
	clear(o.queue[len(kept):])
	o.queue = kept
}

// first is the oldest, or nil.
func (o *outbox) first() *Publication {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil
	}
	return o.queue[0]
}

// done takes out a message that first returned; it may be gone already.
func (o *outbox) done(p *Publication) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remove(func(q *Publication) bool { return q == p })
	if len(o.queue) == 0 {
		select {
		case <-o.empty:
		default:
			close(o.empty)
		}
	}
}

// waiting is how many wait.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

// drained is closed when nothing waits.
func (o *outbox) drained() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.empty
}
