package controller

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
)

// fakeBus delivers in the caller's goroutine and notes what is published.
type fakeBus struct {
	mu       sync.Mutex
	handlers map[string]func(bus.Message)
	sent     []bus.Publication
	away     bool
}

func (b *fakeBus) Subscribe(filter string, h func(bus.Message)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.handlers == nil {
		b.handlers = map[string]func(bus.Message){}
	}
	b.handlers[strings.TrimSuffix(filter, "#")] = h
	return nil
}

func (b *fakeBus) AwaitConnection(ctx context.Context) error {
	for b.isAway() {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (b *fakeBus) Publish(_ context.Context, p bus.Publication) error {
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

func (b *fakeBus) isAway() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.away
}

func (b *fakeBus) setAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

func (b *fakeBus) deliver(msg bus.Message) {
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

// take returns what was published on a topic since the last time.
func (b *fakeBus) take(topic string) []bus.Publication {
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
