package bus

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/wire"
)

const (
	dialTimeout  = 5 * time.Second
	writeTimeout = 5 * time.Second
	ackTimeout   = 10 * time.Second
	keepAlive    = 10 * time.Second
	pingTimeout  = 5 * time.Second
	leaveMillis  = 250
)

// link is one connection, from its handshake to its end. paho's own reconnecting is left alone: it keeps half a
// dozen states that can't be asked for, and resends without bound.
type link struct {
	paho mqtt.Client
	lost chan struct{} // closed when the connection has failed
	gone chan struct{} // closed when the client no longer uses it
	once sync.Once

	replaced atomic.Bool // another brings what comes

	err  error // why; to be read after lost
	born time.Time
}

func (l *link) drop(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.lost)
	})
}

// leave ends the connection in good order.
func (l *link) leave() {
	l.paho.Disconnect(leaveMillis)
	l.drop(ErrClosed)
}

// Try connects once and leaves again. It returns until when the broker's certificate is good, the zero time if it shows none. An error
// says what to do.
func Try(ctx context.Context, opts Options) (until time.Time, err error) {
	if err := opts.Validate(); err != nil {
		return until, err
	}
	address, err := parseAddress(opts.Broker)
	if err != nil {
		return until, err
	}
	if address.User != nil && opts.Username == "" {
		opts.Username = address.User.Username()
		opts.Password, _ = address.User.Password()
	}
	address.User = nil
	seen := &certificates{who: opts.Credentials}
	if opts.Credentials == nil {
		seen.who = func() Credentials { return Credentials{Username: opts.Username, Password: opts.Password} }
	}
	opts.Credentials = seen.credentials
	c := &Client{opts: opts, address: address}
	l, err := c.dial(ctx, randomID())
	if err != nil {
		return until, fmt.Errorf("%s: %w: %s", shown(address), err, explain(err))
	}
	l.leave()
	return seen.until(), nil
}

// certificates notes when the broker's ends, beside all checks.
type certificates struct {
	who func() Credentials
	end atomic.Pointer[time.Time]
}

func (s *certificates) credentials() Credentials {
	c := s.who()
	config := c.TLS.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	check := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) > 0 {
			s.end.Store(&state.PeerCertificates[0].NotAfter)
		}
		if check == nil {
			return nil
		}
		return check(state)
	}
	c.TLS = config
	return c
}

func (s *certificates) until() (t time.Time) {
	if end := s.end.Load(); end != nil {
		t = *end
	}
	return t
}

// dial makes one attempt.
func (c *Client) dial(ctx context.Context, clientID string) (*link, error) {
	l := &link{lost: make(chan struct{}), gone: make(chan struct{})}
	l.paho = mqtt.NewClient(c.pahoOptions(l, clientID))
	token := l.paho.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		go func() { // paho's dialling can't be cancelled
			<-token.Done()
			l.leave()
		}()
		return nil, ctx.Err()
	}
	if err := token.Error(); err != nil {
		return nil, err
	}
	l.born = time.Now()
	return l, nil
}

func (c *Client) pahoOptions(l *link, clientID string) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions()
	// AddBroker would parse the URL again; this keeps what parseAddress made of it.
	o.Servers = []*url.URL{c.address}
	who := Credentials{Username: c.opts.Username, Password: c.opts.Password}
	if c.opts.Credentials != nil {
		who = c.opts.Credentials()
	}
	o.SetClientID(clientID).SetUsername(who.Username).SetPassword(who.Password)
	if who.TLS != nil {
		o.SetTLSConfig(who.TLS)
	}
	o.SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false)
	o.SetConnectTimeout(dialTimeout).SetWriteTimeout(writeTimeout)
	o.SetDialer(&net.Dialer{Timeout: dialTimeout})
	o.SetKeepAlive(keepAlive).SetPingTimeout(pingTimeout)
	o.SetOrderMatters(true)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.receive(l, m) })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.drop(err) })
	if w := c.opts.Will; w != nil {
		payload := w.Payload
		if c.opts.Sign != nil {
			if signed, err := c.opts.Sign(w.Topic, payload); err == nil {
				payload = signed
			} else { // readers don't believe it then, and notice the silence
				c.log.Warn("the last will isn't signed", "err", err)
			}
		}
		o.SetBinaryWill(w.Topic, payload, w.Delivery.qos(), w.Retain)
	}
	return o
}

// receive runs in paho's network loop and must not block.
func (c *Client) receive(l *link, m mqtt.Message) {
	msg := Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained()}
	if size := len(msg.Payload); size > wire.MaxPayload {
		msg.Payload, msg.Oversize = nil, size
	}
	if h := c.handover.Load(); h != nil {
		h.take(l, digestOf(m.Topic(), m.Payload()), msg)
		return
	}
	if !l.replaced.Load() {
		c.deliver(msg)
	}
}

func (c *Client) deliver(msg Message) {
	c.mu.Lock()
	subs := c.subs
	c.mu.Unlock()
	for _, s := range subs {
		if !matches(s.filter, msg.Topic) {
			continue
		}
		if lost := c.in.put(delivery{s, msg}); lost > 0 {
			c.counts.lostIn.Add(uint64(lost))
			c.folds.warn(c.log, "messages lost: they come faster than they are handled", lost)
		}
	}
}

func (d Delivery) qos() byte {
	if d == BestEffort {
		return 0
	}
	return 1
}

// restore subscribes to what is remembered. What the broker refuses is logged and left out.
func (c *Client) restore(l *link, subs []*subscription) error {
	for _, s := range subs {
		switch err := l.subscribe(s.filter); {
		case err == nil:
		case l.isLost():
			return fmt.Errorf("subscribe to %s: %w", s.filter, l.err)
		default:
			s.complaints.Error(time.Now(), "subscription failed: does this user have the right to read it?", "filter", s.filter, "err", err)
		}
	}
	return nil
}

func (l *link) isLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}
