package broker

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// mochi's own listeners bind late, which turns a port in use into a log line, and wait for ever for a client's first packet.

// clients are the connections of a listener, those without a session included.
type clients struct {
	all   *sync.WaitGroup               // mochi's, on which it waits at its end
	fault func(conn net.Conn, what any) // told of a panic, which ends a connection

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

func newClients(b *Broker) *clients {
	return &clients{all: &b.server.Listeners.ClientsWg, fault: b.fault, conns: map[net.Conn]struct{}{}}
}

// serve gives a client until the deadline for its first packet; mochi sets another one then.
func (c *clients) serve(establish listeners.EstablishFn, id string, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if !c.enter(conn) {
		return
	}
	defer c.leave(conn)
	defer func() {
		if what := recover(); what != nil {
			c.fault(conn, what)
		}
	}()
	if conn.SetDeadline(time.Now().Add(connectTimeout)) == nil {
		_ = establish(id, conn) // a single client's error
	}
}

// enter joins the group before mochi does, which would do so while its end already waits.
func (c *clients) enter(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.all.Add(1)
	c.conns[conn] = struct{}{}
	return true
}

func (c *clients) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	c.all.Done()
}

// close comes before mochi's own end of its clients, which would wait for each that doesn't read.
func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.conns {
		cut(conn)
	}
}

// cut closes a connection without TLS's goodbye, for which a client that doesn't read would have to be awaited.
func cut(conn net.Conn) { _ = underTLS(conn).Close() }

func underTLS(conn net.Conn) net.Conn {
	conn = underWebSocket(conn)
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

type tcpListener struct {
	l       net.Listener
	clients *clients
}

func newTCP(l net.Listener, b *Broker) listeners.Listener {
	return &tcpListener{l, newClients(b)}
}

func (*tcpListener) Init(*slog.Logger) error { return nil }
func (*tcpListener) ID() string              { return "tcp" }
func (t *tcpListener) Address() string       { return t.l.Addr().String() }
func (*tcpListener) Protocol() string        { return "tcp" }

func (t *tcpListener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := t.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, say
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go t.clients.serve(establish, t.ID(), conn)
	}
}

func (t *tcpListener) Close(closeClients listeners.CloseFn) {
	_ = t.l.Close()
	t.clients.close()
	closeClients(t.ID())
}

type wsListener struct {
	l       net.Listener
	server  *http.Server
	clients *clients
}

func newWebSocket(l net.Listener, b *Broker) listeners.Listener {
	return &wsListener{l, &http.Server{
		ReadHeaderTimeout: connectTimeout,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // anybody could fill it
	}, newClients(b)}
}

func (*wsListener) Init(*slog.Logger) error { return nil }
func (*wsListener) ID() string              { return "ws" }
func (w *wsListener) Address() string       { return w.l.Addr().String() }
func (*wsListener) Protocol() string        { return "ws" }

func (w *wsListener) Serve(establish listeners.EstablishFn) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"mqtt"}, CheckOrigin: sameOrigin}
	w.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(rw, r, nil)
		if err != nil {
			return // it has answered
		}
		c.SetReadLimit(maxPacketBytes)
		w.clients.serve(establish, w.ID(), &wsConn{Conn: c.NetConn(), ws: c})
	})
	_ = w.server.Serve(w.l)
}

// sameOrigin keeps web pages of other sites, open in an administrator's browser, from commanding weir. Programs send no
// origin, or one that isn't of the web.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return origin != "null"
	}
	// A name would do for a page whose owner points it to 127.0.0.1 (DNS rebinding).
	_, err = netip.ParseAddr(u.Hostname())
	return u.Host == r.Host && (err == nil || u.Hostname() == "localhost")
}

func (w *wsListener) Close(closeClients listeners.CloseFn) {
	_ = w.server.Close()
	w.clients.close()
	closeClients(w.ID())
}
