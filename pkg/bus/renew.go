package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/console"
)

const (
	renewRetry = 10 * time.Second
	renewEvery = 10 * time.Minute // of its log
	// drain is for what is on its way over the old connection, in either direction.
	drain = 500 * time.Millisecond
)

var errRenewed = errors.New("the credentials are new")

// Renew connects with the credentials as they are now, and only then leaves the connection that there is: nothing that others publish
// meanwhile is lost. The old connection goes on while that fails, as it does until the broker knows the credentials.
// A client with a ClientID of its own leaves first, since a broker knows one connection by each.
func (c *Client) Renew() {
	select {
	case c.renew <- struct{}{}:
	default: // about to
	}
}

// hold returns when a connection is lost or ctx ends: the connection, or the last of those that were put in its place.
func (c *Client) hold(ctx context.Context, l *link) (*link, error) {
	var again <-chan time.Time
	refused := console.Complaints{Log: c.log, Every: renewEvery}
	for {
		select {
		case <-l.lost:
			return l, l.err
		case <-ctx.Done():
			return l, nil
		case <-c.renew:
		case <-again:
		}
		again = nil
		if c.named {
			l.drop(errRenewed)
			continue
		}
		next, err := c.succeed(ctx, l)
		if err != nil {
			refused.Warn(time.Now(), "the broker doesn't take the new credentials yet: the old connection goes on", "err", err, "hint", explain(err))
			again = time.After(renewRetry)
			continue
		}
		l = next
		c.log.Info("connected to the broker with new credentials")
	}
}

// succeed puts a new connection in the place of an old one.
func (c *Client) succeed(ctx context.Context, old *link) (next *link, err error) {
	h := &handover{old: old, deliver: c.deliver, seen: map[digest]bool{}, full: make(chan struct{})}
	c.handover.Store(h)
	defer func() {
		h.finish(err == nil)
		if err == nil { // what the old one was faster with
			select {
			case <-time.After(drain):
			case <-next.lost:
			case <-ctx.Done():
			}
		}
		c.handover.Store(nil)
	}()
	next, err = c.dial(ctx, randomID())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	subs := c.subs
	c.mu.Unlock()
	if err := c.restore(next, subs); err != nil {
		next.leave()
		return nil, err
	}
	c.mu.Lock()
	c.link = next
	late := slices.DeleteFunc(slices.Clone(c.subs), func(s *subscription) bool { return slices.Contains(subs, s) })
	c.mu.Unlock()
	if err := c.restore(next, late); err != nil { // what came in the meantime is subscribed to on the old connection only
		c.log.Debug("the new connection was lost at once", "err", err)
	}
	if c.opts.OnConnect != nil {
		go c.opts.OnConnect()
	}
	select {
	case <-time.After(drain):
	case <-old.lost:
	case <-h.full:
	case <-ctx.Done():
	}
	close(old.gone)
	old.leave()
	return next, nil
}

func randomID() string { return "weir-" + rand.Text()[:12] }

type digest [sha256.Size]byte

// handover keeps the order of messages, and each to one, while two connections bring them: those of the old one are delivered, and those
// of the new one wait for its end, less those that were there. Signed messages all differ; of others that are alike some may come twice,
// as QoS 1 allows.
type handover struct {
	old     *link
	deliver func(Message)
	full    chan struct{} // closed when no more should wait

	mu   sync.Mutex
	seen map[digest]bool // over the old connection
	held []held
	over bool
}

type held struct {
	digest
	msg Message
}

// take has a message of a connection delivered, now or later.
func (h *handover) take(l *link, d digest, m Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case l == h.old:
		if h.over && l.replaced.Load() {
			return // the new one has brought it
		}
		h.deliver(m)
		h.seen[d] = true
	case h.over:
		h.deliverNew(d, m)
	default:
		h.held = append(h.held, held{d, m})
		if len(h.held) == inboxLen/2 { // or what is delivered at once would push out what the inbox still holds
			close(h.full)
		}
	}
}

// finish delivers what has waited.
func (h *handover) finish(replaced bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.old.replaced.Store(replaced)
	for _, x := range h.held {
		h.deliverNew(x.digest, x.msg)
	}
}

// deliverNew delivers what the old connection hasn't brought.
func (h *handover) deliverNew(d digest, m Message) {
	if m.Retained || !h.seen[d] {
		h.deliver(m)
	}
	delete(h.seen, d)
}

func digestOf(topic string, payload []byte) digest {
	return sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", topic, payload))
}
