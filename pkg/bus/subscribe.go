package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/console"
)

type subscription struct {
	filter     string
	handler    func(Message)
	complaints console.Complaints
}

// Subscribe hands the messages under filter to h. It is remembered and restored on every reconnect, so a broker that is
// away is no error; one that refuses is. A client's handlers run one at a time, in the order of arrival; messages that
// come faster than they are handled are dropped, oldest first, and counted in the log. A filter can be used once.
func (c *Client) Subscribe(filter string, h func(Message)) error {
	if err := validateFilter(filter); err != nil {
		return err
	}
	s := &subscription{filter: filter, handler: h, complaints: console.Complaints{Log: c.log, Every: foldFor}}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	if slices.ContainsFunc(c.subs, func(s *subscription) bool { return s.filter == filter }) {
		c.mu.Unlock()
		return fmt.Errorf("subscribe to %s: subscribed already", filter)
	}
	c.subs = append(slices.Clone(c.subs), s) // receive reads the old slice without the lock
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return nil
	}
	if err := l.subscribe(filter); err != nil && !l.isLost() {
		c.forget(s)
		return fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	return nil
}

func (c *Client) forget(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = slices.DeleteFunc(slices.Clone(c.subs), func(t *subscription) bool { return t == s })
}

// subscribeTries: mochi refuses a SUBSCRIBE whose packet ID happens to be that of a message on its way to this client.
const subscribeTries = 3

func (l *link) subscribe(filter string) error {
	var err error
	for range subscribeTries {
		if err = l.subscribeOnce(filter); !errors.Is(err, errRefused) {
			return err
		}
	}
	return err
}

func (l *link) subscribeOnce(filter string) error {
	token := l.paho.Subscribe(filter, 1, nil)
	timeout := time.NewTimer(ackTimeout)
	defer timeout.Stop()
	select {
	case <-token.Done():
	case <-l.lost:
		return ErrAway
	case <-timeout.C:
		return errors.New("the broker does not answer")
	}
	if err := token.Error(); err != nil {
		return err
	}
	if granted := token.(*mqtt.SubscribeToken).Result()[filter]; granted > 2 {
		return errRefused
	}
	return nil
}

// runHandlers runs them one at a time.
func (c *Client) runHandlers(ctx context.Context) {
	for {
		d, ok := c.in.take()
		if !ok {
			select {
			case <-c.in.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		if c.opts.Check != nil {
			c.opts.Check(&d.msg)
		}
		c.counts.received.Add(1)
		if d.msg.Refused != nil {
			c.counts.refused.Add(1)
		}
		d.sub.handler(d.msg)
	}
}
