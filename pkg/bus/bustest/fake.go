// Package bustest helps to test what talks over a bus: one that is faked, and a real one. Only tests import it.
package bustest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
)

// Fake is a bus that delivers in the caller's goroutine and notes what is published.
type Fake struct {
	mu       sync.Mutex
	handlers map[string]func(bus.Message)
	sent     []bus.Publication
	away     bool
}

// Away returns one whose broker is away.
func Away() *Fake { return &Fake{away: true} }

// Subscribe takes filters that are topics or end in #.
func (b *Fake) Subscribe(filter string, h func(bus.Message)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.handlers == nil {
		b.handlers = map[string]func(bus.Message){}
	}
	b.handlers[strings.TrimSuffix(filter, "#")] = h
	return nil
}

// AwaitConnection waits while the broker is away.
func (b *Fake) AwaitConnection(ctx context.Context) error {
	for b.isAway() {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Publish notes what is published.
func (b *Fake) Publish(_ context.Context, p bus.Publication) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away && p.Delivery != bus.Eventually {
		return bus.ErrAway
	}
	if len(p.Payload) == 0 {
		return errors.New("nothing to publish")
	}
	b.sent = append(b.sent, p)
	return nil
}

func (b *Fake) isAway() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.away
}

// SetAway takes the broker away, or gives it back.
func (b *Fake) SetAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// Deliver hands a message to whoever has subscribed.
func (b *Fake) Deliver(msg bus.Message) {
	b.mu.Lock()
	var h func(bus.Message)
	for prefix, f := range b.handlers {
		if strings.HasPrefix(msg.Topic, prefix) {
			h = f
		}
	}
	b.mu.Unlock()
	if h != nil {
		h(msg)
	}
}

// Take returns what was published on a topic since the last time.
func (b *Fake) Take(topic string) []bus.Publication {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out, kept []bus.Publication
	for _, p := range b.sent {
		if p.Topic == topic {
			out = append(out, p)
		} else {
			kept = append(kept, p)
		}
	}
	b.sent = kept
	return out
}
