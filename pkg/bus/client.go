package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Client is one component's connection. Its methods may be called from any goroutine, handlers included.
type Client struct {
	opts    Options
	address *url.URL // without credentials
	log     *slog.Logger
	out     *outbox
	in      *inbox
	slots   chan struct{} // bounds the publications under way

	stop   context.CancelFunc
	ended  sync.WaitGroup // the connection's and the outbox's loops
	folds  folds
	counts counts
	named  bool // by whoever made it

	renew    chan struct{} // 1 deep
	again    chan struct{} // likewise
	handover atomic.Pointer[handover]

	mu     sync.Mutex
	subs   []*subscription
	link   *link         // the connection to subscribe on; nil while away
	why    error         // the last attempt to connect failed; nil for none
	up     chan struct{} // closed while link is set and its subscriptions are restored
	closed bool
}

const maxUnderWay = 64

// Connect starts to connect in the background and keeps at it until Close. Only bad options are an error; a broker
// that is down is not.
func Connect(opts Options) (*Client, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	address, err := parseAddress(opts.Broker)
	if err != nil {
		return nil, err
	}
	if address.User != nil && opts.Username == "" {
		opts.Username = address.User.Username()
		opts.Password, _ = address.User.Password()
	}
	address.User = nil
	named := opts.ClientID != ""
	if !named {
		opts.ClientID = randomID()
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{
		opts: opts, address: address, stop: stop,
		log: opts.Log.With("broker", shown(address)),
		out: newOutbox(), in: newInbox(),
		slots: make(chan struct{}, maxUnderWay),
		named: named, renew: make(chan struct{}, 1), again: make(chan struct{}, 1),
		up: make(chan struct{}),
	}
	c.ended.Go(func() { c.keepConnected(ctx) })
	c.ended.Go(func() { c.sendOutbox(ctx) })
	go c.runHandlers(ctx)
	return c, nil
}

// Connected tells whether the broker is there now.
func (c *Client) Connected() bool {
	l, _ := c.current()
	return l != nil
}

// Reconnected tells one reader of each connection but the first, with subscriptions restored: what the broker retained may be gone.
func (c *Client) Reconnected() <-chan struct{} { return c.again }

// AwaitConnection blocks until the broker is there or ctx ends.
func (c *Client) AwaitConnection(ctx context.Context) error {
	c.mu.Lock()
	up, closed := c.up, c.closed
	c.mu.Unlock()
	if closed {
		return ErrClosed
	}
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return c.notConnected(ctx.Err())
	}
}

// notConnected says why, as far as it is known.
func (c *Client) notConnected(err error) error {
	c.mu.Lock()
	why := c.why
	c.mu.Unlock()
	if why == nil {
		return fmt.Errorf("connect to %s: %w: is the broker running?", shown(c.address), err)
	}
	return fmt.Errorf("connect to %s: %w: %s", shown(c.address), why, explain(why))
}

// current is the connection to publish on, nil while away.
func (c *Client) current() (*link, chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.up:
		return c.link, c.up
	default:
		return nil, c.up
	}
}

// closeGrace is how long Close waits for the outbox.
const closeGrace = time.Second

// Close sends what waits if the broker is there, for a second at most, and takes leave without the last will. A
// handler may still be running when it returns.
func (c *Client) Close() {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return
	}
	if l, _ := c.current(); l != nil {
		grace := time.NewTimer(closeGrace)
		defer grace.Stop()
		select {
		case <-c.out.drained():
		case <-l.lost:
		case <-grace.C:
			c.log.Warn("closed before everything was sent")
		}
	}
	c.stop()
	c.ended.Wait()
}

func (c *Client) checkOpen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	return nil
}

var errRefused = errors.New("the broker refused it")
