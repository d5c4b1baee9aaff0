// Package door turns away who connects too often, too much at a time or again and again without being let in, before anything is spent on
// him, and has strangers make room for each other.
package door

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limits are what strangers may do. A source is an IPv4 address, or the /64 that a host may choose its addresses from. Loopback is no
// source: this host's own components come from there.
type Limits struct {
	PerSource int        // connections; a site's components may share an address; 0 for any number, and any pace
	Rate      rate.Limit // connections per second of a source
	Burst     int        // connections of a source at once
	Strikes   int        // connections that said something and weren't let in, within a minute, until a source is banned; 0 for no bans
	Flaps     int        // connections beyond its rate, within a minute, until a source is banned, if any is

	// Waiting bounds the connections that nobody has let in yet. The oldest makes room for the newest: a client that means it is through in a
	// moment, and a flood of those that don't must not keep it out.
	Waiting int

	// Source tells where a connection is from, and whether that counts; nil for what is said above.
	Source func(net.Addr) (netip.Prefix, bool)
}

// Default is for clients that are programs.
var Default = Limits{PerSource: 512, Rate: 20, Burst: 200, Strikes: 20, Flaps: 200, Waiting: 1000}

const (
	strikesForget  = time.Minute
	firstBan       = time.Minute
	longestBan     = time.Hour
	maxSources     = 10_000 // that are remembered
	sourceForgiven = 2 * longestBan
)

// Door is one for several listeners.
type Door struct {
	limits Limits
	warn   func(text string, args ...any)

	mu      sync.Mutex
	sources map[netip.Prefix]*source
	waiting list.List // of *Conn that nobody has let in yet, the oldest first
}

type source struct {
	open     int
	pace     *rate.Limiter
	strikes  int
	struck   time.Time // last
	flaps    int
	flapped  time.Time // last
	bans     int
	until    time.Time // banned
	lastSeen time.Time
}

// New returns a door that says by warn whom it turns away, each time.
func New(l Limits, warn func(string, ...any)) *Door {
	if l.Source == nil {
		l.Source = sourceOf
	}
	return &Door{limits: l, warn: warn, sources: map[netip.Prefix]*source{}}
}

// Guard puts it before a listener.
func (d *Door) Guard(l net.Listener) net.Listener { return listener{l, d} }

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

// enter tells whether a source may have one more connection.
func (d *Door) enter(now time.Time, from netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sources[from]
	if s == nil {
		if len(d.sources) >= maxSources && !d.prune(now) {
			d.warn("connections are refused: too many sources have some")
			return false
		}
		s = &source{pace: rate.NewLimiter(d.limits.Rate, d.limits.Burst)}
		d.sources[from] = s
	}
	s.lastSeen = now
	switch {
	case now.Before(s.until):
		d.warn("connections of banned sources are refused", "source", from)
		return false
	case s.open >= d.limits.PerSource:
		d.warn("connections are refused: a source has too many", "source", from)
		return false
	case !s.pace.AllowN(now, 1):
		d.warn("connections are refused: a source connects too often", "source", from)
		if d.count(now, &s.flaps, &s.flapped, d.limits.Flaps) {
			d.ban(now, s, from)
		}
		return false
	}
	s.open++
	return true
}

// looks is how many sources prune looks at: a map is walked from a random place each time, and a flood of sources must cost little.
const looks = 64

// prune forgets a source without connections: one that has been quiet for long, or a banned one if need be, for who fills the table with
// those must not keep others out.
func (d *Door) prune(now time.Time) bool {
	var oldest netip.Prefix
	n := 0
	for p, s := range d.sources {
		if n++; n > looks {
			break
		}
		if s.open == 0 && (!oldest.IsValid() || s.before(now, d.sources[oldest])) {
			oldest = p
		}
	}
	delete(d.sources, oldest)
	return oldest.IsValid()
}

// before tells which of two is to be forgotten first.
func (s *source) before(now time.Time, other *source) bool {
	if banned := now.Before(s.until); banned != now.Before(other.until) {
		return !banned
	}
	return s.lastSeen.Before(other.lastSeen)
}

// leave notes the end of a connection; struck is whether it asked for something and wasn't let in.
func (d *Door) leave(now time.Time, from netip.Prefix, struck bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sources[from]
	s.open--
	s.lastSeen = now
	if struck && d.count(now, &s.strikes, &s.struck, d.limits.Strikes) {
		d.ban(now, s, from)
	}
}

// count adds one to what is forgotten after a quiet minute, and tells whether that is enough for a ban.
func (d *Door) count(now time.Time, n *int, last *time.Time, enough int) bool {
	if now.Sub(*last) > strikesForget {
		*n = 0
	}
	*n, *last = *n+1, now
	return *n >= enough && d.limits.Strikes > 0
}

// ban turns a source away for a while, longer each time. The lock is held.
func (d *Door) ban(now time.Time, s *source, from netip.Prefix) {
	if now.Sub(s.until) > sourceForgiven {
		s.bans = 0
	}
	ban := min(firstBan<<min(s.bans, 10), longestBan)
	s.strikes, s.flaps, s.bans, s.until = 0, 0, s.bans+1, now.Add(ban)
	d.warn("a source is banned: whoever connects from there isn't let in", "source", from, "for", ban)
}

// listener makes Conns.
type listener struct {
	net.Listener
	door *Door
}

// Accept returns the next connection that may come in.
func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, counts := l.door.limits.Source(c.RemoteAddr())
		counts = counts && l.door.limits.PerSource > 0
		if counts && !l.door.enter(time.Now(), from) {
			_ = c.Close()
			continue
		}
		d := &Conn{Conn: c, door: l.door, from: from, counts: counts}
		l.door.wait(d)
		return d, nil
	}
}

// wait has a connection wait to be let in.
func (d *Door) wait(c *Conn) {
	d.mu.Lock()
	var gone *Conn
	if d.waiting.Len() >= d.limits.Waiting {
		gone = d.waiting.Remove(d.waiting.Front()).(*Conn)
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
func (d *Door) waitsNoMore(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.place != nil {
		d.waiting.Remove(c.place)
		c.place = nil
	}
}

// Conn is a connection that came by the door.
type Conn struct {
	net.Conn
	door     *Door
	from     netip.Prefix
	counts   bool          // it isn't from this host
	place    *list.Element // among those that wait; the door's lock guards it
	spoke    atomic.Bool   // a health check doesn't
	admitted atomic.Bool
	crowded  atomic.Bool // it had to make room, which is nobody's fault
	once     sync.Once
}

func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	return n, err
}

// Close ends it, and counts it if it wasn't let in.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.door.waitsNoMore(c)
		if c.counts {
			c.door.leave(time.Now(), c.from, c.spoke.Load() && !c.admitted.Load() && !c.crowded.Load())
		}
	})
	return err
}

// Admit says that a client was let in.
func (c *Conn) Admit() {
	c.admitted.Store(true)
	c.door.waitsNoMore(c)
}
