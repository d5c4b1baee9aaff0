package bus

import "sync"

const (
	inboxLen   = 1024
	inboxBytes = 8 << 20
)

// delivery is a message on its way to one handler.
type delivery struct {
	sub *subscription
	msg Message
}

// inbox holds what handlers have yet to see. When it is full, the subscription with the most messages waiting loses its
// oldest: a chatty topic can't push out a command.
type inbox struct {
	mu      sync.Mutex
	queue   []delivery
	bytes   int
	waiting map[*subscription]int
	wake    chan struct{} // 1 deep
}

func newInbox() *inbox {
	return &inbox{waiting: map[*subscription]int{}, wake: make(chan struct{}, 1)}
}

// put never blocks. It returns how many messages were lost to make room.
func (b *inbox) put(d delivery) (lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, d)
	b.bytes += len(d.msg.Payload)
	b.waiting[d.sub]++
	for len(b.queue) > inboxLen || b.bytes > inboxBytes {
		b.shed()
		lost++
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return lost
}

func (b *inbox) shed() {
	var most *subscription
	for s, n := range b.waiting {
		if most == nil || n > b.waiting[most] {
			most = s
		}
	}
	for i, d := range b.queue {
		if d.sub == most {
			b.took(d)
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			return
		}
	}
}

func (b *inbox) took(d delivery) {
	b.bytes -= len(d.msg.Payload)
	if b.waiting[d.sub]--; b.waiting[d.sub] == 0 {
		delete(b.waiting, d.sub)
	}
}

// take returns the oldest.
func (b *inbox) take() (delivery, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return delivery{}, false
	}
	d := b.queue[0]
	b.queue[0] = delivery{}
	b.queue = b.queue[1:]
	b.took(d)
	return d, true
}
