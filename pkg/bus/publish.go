package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/console"
)

// Publish sends a message as its Delivery says. Errors are ErrAway, ErrClosed, the context's, or a publication that no
// broker would take.
func (c *Client) Publish(ctx context.Context, p Publication) error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := c.checkOpen(); err != nil {
		return err
	}
	if c.opts.Sign != nil {
		signed, err := c.opts.Sign(p.Topic, p.Payload)
		if err != nil {
			return fmt.Errorf("publish to %s: %w", p.Topic, err)
		}
		p.Payload = signed
	}
	if p.Delivery == Eventually {
		if c.out.put(p) {
			c.counts.lostOut.Add(1)
			c.folds.warn(c.log, "messages lost: the broker was away for too long", 1)
		}
		return nil
	}
	l, _ := c.current()
	if l == nil {
		return fmt.Errorf("publish to %s: %w", p.Topic, ErrAway)
	}
	if err := c.send(ctx, l, p); err != nil {
		return fmt.Errorf("publish to %s: %w", p.Topic, err)
	}
	return nil
}

// send writes a message and for QoS 1 waits for its acknowledgement. paho blocks while the network does, so it runs in
// a goroutine of its own, of which there are only so many.
func (c *Client) send(ctx context.Context, l *link, p Publication) error {
	select {
	case c.slots <- struct{}{}:
	case <-l.lost:
		return ErrAway
	case <-ctx.Done():
		return ctx.Err()
	}
	result := make(chan error, 1)
	go func() {
		defer func() { <-c.slots }()
		token := l.paho.Publish(p.Topic, p.Delivery.qos(), p.Retain, p.Payload)
		select {
		case <-token.Done():
			result <- token.Error()
		case <-l.lost:
			result <- ErrAway
		case <-ctx.Done():
			result <- ctx.Err()
		}
	}()
	select {
	case err := <-result:
		if err == nil {
			c.counts.sent.Add(1)
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%w: the connection was lost", ErrAway)
		}
		return err
	case <-l.lost:
		return fmt.Errorf("%w: the connection was lost", ErrAway)
	case <-ctx.Done():
		return fmt.Errorf("no acknowledgement: %w", ctx.Err())
	}
}

// poisonTries is how often a message may meet the end of the connection before it is held to be the cause: some
// brokers answer a forbidden topic that way.
const poisonTries = 4

// sendOutbox sends what must arrive eventually, one at a time, which keeps the order.
func (c *Client) sendOutbox(ctx context.Context) {
	var tried *Publication
	var tries int
	dropped := console.Complaints{Log: c.log, Every: foldFor}
	for ctx.Err() == nil {
		p := c.out.first()
		l, up := c.current()
		switch {
		case p == nil:
			select {
			case <-c.out.wake:
			case <-ctx.Done():
			}
			continue
		case l == nil:
			select {
			case <-up:
			case <-ctx.Done():
			}
			continue
		}
		if p != tried {
			tried, tries = p, 0
		}
		err := c.sendOrDrop(ctx, l, *p)
		if tries++; err == nil || tries == poisonTries {
			c.out.done(p)
		}
		if err != nil && tries == poisonTries {
			c.counts.lostOut.Add(1)
			dropped.Error(time.Now(), "message dropped: the broker ends the connection whenever it is sent. Is it allowed?",
				"topic", p.Topic, "err", err)
		}
	}
}

// sendOrDrop drops a connection on which nothing is acknowledged.
func (c *Client) sendOrDrop(ctx context.Context, l *link, p Publication) error {
	ack, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	err := c.send(ack, l, p)
	if err != nil && ctx.Err() == nil && !l.isLost() {
		l.drop(errors.New("the broker does not acknowledge"))
	}
	if err != nil {
		select { // wait for the loop to notice, or this would spin
		case <-l.gone:
		case <-ctx.Done():
		case <-time.After(writeTimeout):
		}
	}
	return err
}
