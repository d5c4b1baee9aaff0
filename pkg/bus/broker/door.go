package broker

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// What one source may do at the door: an IPv4 address, or the /64 that a host may choose its addresses from. Loopback is exempt: this
// host's own components come from there.
const (
	maxPerSource   = 512 // connections; a site's components may share an address
	connectRate    = 20  // connections per second
	connectBurst   = 200
	strikes        = 20 // connections that said something and weren't let in, within strikesForget, until a ban
	strikesForget  = time.Minute
	firstBan       = time.Minute
	longestBan     = time.Hour
	maxSources     = 10_000 // that are remembered
	sourceForgiven = 2 * longestBan
)

// maxWaiting bounds the connections that have yet to say who they are. The oldest makes room for the newest: a client that means it
// is through in a moment, and a flood of those that don't must not keep it out.
const maxWaiting = 1000

// door turns away sources that flap, guess, or hold too many connections, before TLS costs anything.
type door struct {
	warn func(text string, args ...any)

	mu      sync.Mutex
	sources map[netip.Prefix]*source
	waiting list.List // of *doorConn that nobody has let in yet, the oldest first
}

type source struct {
	open     int
	pace     *rate.Limiter
	strikes  int
	struck   time.Time // last
	bans     int
	until    time.Time // banned
	lastSeen time.Time
}

func newDoor(warn func(string, ...any)) *door {
	return &door{warn: warn, sources: map[netip.Prefix]*source{}}
}

// sourceOf is false for loopback, and for what has no address.
func sourceOf(a net.Addr) (netip.Prefix, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if addr.IsLoopback() {
		return netip.Prefix{}, false
	}
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, err := addr.WithZone("").Prefix(bits)
	return p, err == nil
}

// elsewhere is for tests, which come from loopback.
var elsewhere = sourceOf

// enter tells whether a source may have one more connection.
func (d *door) enter(now time.Time, from netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sources[from]
	if s == nil {
		if len(d.sources) >= maxSources && !d.prune(now) {
			return false // all of them are in, or banned
		}
		s = &source{pace: rate.NewLimiter(connectRate, connectBurst)}
		d.sources[from] = s
	}
	s.lastSeen = now
	switch {
	case now.Before(s.until):
		return false
	case s.open >= maxPerSource:
		d.warn("connections are refused: a source has too many", "source", from)
		return false
	case !s.pace.AllowN(now, 1):
		d.warn("connections are refused: a source connects too often", "source", from)
		return false
	}
	s.open++
	return true
}

// looks is how many sources prune looks at: a map is walked from a random place each time, and a flood of sources must cost little.
const looks = 64

// prune forgets a source that has been quiet for long.
func (d *door) prune(now time.Time) bool {
	var oldest netip.Prefix
	n := 0
	for p, s := range d.sources {
		if n++; n > looks {
			break
		}
		if s.open > 0 || now.Before(s.until) {
			continue
		}
		if !oldest.IsValid() || s.lastSeen.Before(d.sources[oldest].lastSeen) {
			oldest = p
		}
	}
	delete(d.sources, oldest)
	return oldest.IsValid()
}

// leave notes the end of a connection; struck is whether it asked for something and wasn't let in.
func (d *door) leave(now time.Time, from netip.Prefix, struck bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sources[from]
	s.open--
	s.lastSeen = now
	if !struck {
		return
	}
	if now.Sub(s.struck) > strikesForget {
		s.strikes = 0
	}
	if now.Sub(s.until) > sourceForgiven {
		s.bans = 0
	}
	s.strikes, s.struck = s.strikes+1, now
	if s.strikes < strikes {
		return
	}
	ban := min(firstBan<<min(s.bans, 10), longestBan)
	s.strikes, s.bans, s.until = 0, s.bans+1, now.Add(ban)
	d.warn("a source is banned: whoever connects from there isn't let in", "source", from, "for", ban)
}

// doorListener makes doorConns.
type doorListener struct {
	net.Listener
	door *door
}

func (l doorListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, counts := elsewhere(c.RemoteAddr())
		if counts && !l.door.enter(time.Now(), from) {
			_ = c.Close()
			continue
		}
		d := &doorConn{Conn: c, door: l.door, from: from, counts: counts}
		l.door.wait(d)
		return d, nil
	}
}

// wait has a connection wait to be let in.
func (d *door) wait(c *doorConn) {
	d.mu.Lock()
	var gone *doorConn
	if d.waiting.Len() >= maxWaiting {
		gone = d.waiting.Remove(d.waiting.Front()).(*doorConn)
		gone.place = nil
	}
	c.place = d.waiting.PushBack(c)
	d.mu.Unlock()
	if gone != nil {
		d.warn("connections that haven't said who they are make room for others")
		gone.crowded.Store(true)
		_ = gone.Close()
	}
}

// waitsNoMore is for a connection that was let in, or has gone.
func (d *door) waitsNoMore(c *doorConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.place != nil {
		d.waiting.Remove(c.place)
		c.place = nil
	}
}

type doorConn struct {
	net.Conn
	door     *door
	from     netip.Prefix
	counts   bool          // it isn't from this host
	place    *list.Element // among those that wait; the door's lock guards it
	spoke    atomic.Bool   // a health check doesn't
	admitted atomic.Bool
	crowded  atomic.Bool // it had to make room, which is nobody's fault
	once     sync.Once
}

func (c *doorConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	return n, err
}

func (c *doorConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.door.waitsNoMore(c)
		if c.counts {
			c.door.leave(time.Now(), c.from, c.spoke.Load() && !c.admitted.Load() && !c.crowded.Load())
		}
	})
	return err
}

// admit says that a client was let in.
func admit(conn net.Conn) {
	conn = underTLS(conn)
	if s, ok := conn.(*stallConn); ok {
		conn = s.Conn
	}
	if d, ok := conn.(*doorConn); ok {
		d.admitted.Store(true)
		d.door.waitsNoMore(d)
	}
}
