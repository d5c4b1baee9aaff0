package broker

import (
	"errors"
	"net"
	"os"
	"time"
)

// stallTimeout is how long a client may refuse to read while something is written to it. Meanwhile whoever publishes
// what the client subscribed to with QoS 1 waits as well, since mochi takes the lock that its writer holds.
const stallTimeout = time.Second

// stallListener makes stallConns.
type stallListener struct {
	net.Listener
	warn func(text string, args ...any)
}

func (l stallListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &stallConn{c, l.warn}, nil
}

// stallConn ends a connection whose peer doesn't read. mochi would wait as long as the client's keep-alive tells it to,
// for ever with none, and go on after half a packet.
type stallConn struct {
	net.Conn
	warn func(text string, args ...any)
}

func (c *stallConn) Write(b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.warn("a client was disconnected: it doesn't read what it has subscribed to", "remote", c.RemoteAddr().String())
	}
	if err != nil {
		_ = c.Conn.Close() // what follows half a packet makes no sense
	}
	return n, err
}

// SetDeadline leaves writing alone: mochi moves the deadline with each packet that the client sends.
func (c *stallConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: the WebSocket would take the deadline away.
func (*stallConn) SetWriteDeadline(time.Time) error { return nil }
