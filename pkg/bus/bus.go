// Package bus keeps a component connected to the broker, whatever happens to it. It alone imports paho.
package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"

	"github.com/weir-sensor/weir/pkg/wire"
)

// ErrAway is returned for what can't wait for a broker that can't be reached now.
var ErrAway = errors.New("the broker is away")

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the connection to the broker was closed")

// Delivery is how much a publication matters.
type Delivery int

// The deliveries.
const (
	// BestEffort is QoS 0: metrics. While the broker is away it is refused at once with ErrAway.
	BestEffort Delivery = iota
	// Confirmed is QoS 1: commands. Publish waits for the broker's acknowledgement until its context ends, and
	// returns ErrAway at once while the broker is away. A connection that is lost while waiting gives ErrAway as well,
	// and the message may then have arrived.
	Confirmed
	// Eventually is QoS 1: alerts and status. It is queued and Publish returns at once; the queue is sent in order
	// while the broker is there. It holds the newest 256; of a retained topic only the newest. A message can
	// arrive twice when the connection is lost before the acknowledgement.
	Eventually
)

// Publication is a message to the broker.
type Publication struct {
	Topic    string
	Payload  []byte // at most wire.MaxPayload bytes; not to be changed after Publish
	Retain   bool
	Delivery Delivery
}

// Message is a message from the broker.
type Message struct {
	Topic    string
	Payload  []byte // nil when Oversize is set
	Retained bool   // sent because of a new subscription, not because it was just published
	Oversize int    // bytes of a payload over wire.MaxPayload, which was left out; else 0
	From     string // who has signed it, by the name of an identity; "" if nobody has, or nothing was checked
	Person   string // the same, if it is a person who is known by name; "" for components
	Refused  error  // why it must not be acted on; nil if it may be, or nothing was checked
}

// Describe shows the payload in one line that is safe to print.
func (m Message) Describe() string {
	if m.Oversize > 0 {
		return fmt.Sprintf("(left out: %d bytes, at most %d are read)", m.Oversize, wire.MaxPayload)
	}
	return wire.Describe(m.Payload)
}

// Options say which broker and as whom.
type Options struct {
	// Broker is scheme://[user:password@]host[:port]: tcp or mqtt (1883), tls or mqtts (8883), ws (8083) or
	// wss (8084), the last two with an optional path, else /mqtt.
	Broker   string
	ClientID string // unique on the broker; empty for a random one
	Username string // overrides the one in Broker
	Password string
	// Credentials is asked before each connect, so that they can be renewed; nil for Username, Password and the system's roots.
	Credentials func() Credentials
	// Sign signs what is published, the will included; nil for nothing. It is called when something is handed over, and again for
	// the will before each connect.
	Sign func(topic string, payload []byte) ([]byte, error)
	// Check says in From and Refused what becomes of a message, before its handler gets it; nil for no checks.
	Check func(*Message)
	// Plaintext allows a broker beyond loopback without TLS.
	Plaintext bool
	Will      *Publication // published by the broker when the connection dies without Close
	Log       *slog.Logger
	// OnConnect is called after every connect and reconnect, in its own goroutine, with subscriptions restored.
	OnConnect func()
}

// Credentials are what a client shows a broker, and what it asks of it.
type Credentials struct {
	TLS      *tls.Config
	Username string
	Password string
}

// Validate reports options that can never work.
func (o Options) Validate() error {
	address, err := parseAddress(o.Broker)
	if err != nil {
		return err
	}
	if !o.Plaintext && !encrypted(address) && !loopback(address.Hostname()) {
		return fmt.Errorf("broker %s is beyond loopback, where everybody on the way could read, change and send commands: use tls:// "+
			"with an identity (weir keys issue), or --insecure-plaintext", address.Redacted())
	}
	if o.Will != nil {
		if err := o.Will.validate(); err != nil {
			return errors.Join(errors.New("last will"), err)
		}
	}
	return nil
}

func (p Publication) validate() error {
	if err := validateTopic(p.Topic); err != nil {
		return err
	}
	if len(p.Payload) > wire.MaxPayload {
		return tooLarge(p.Topic, len(p.Payload))
	}
	return nil
}
