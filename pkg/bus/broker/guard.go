package broker

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"
)

// guard is the broker's policy, as a hook. It lets everybody in, since the broker is for loopback.
type guard struct {
	mochi.HookBase
	server *mochi.Server
	log    *slog.Logger

	mu     sync.Mutex
	pace   map[*mochi.Client]*rate.Limiter
	kept   map[string]struct{} // IDs of the clients whose sessions outlast their connections
	warned time.Time           // one line a minute, whoever misbehaves
}

func newGuard(server *mochi.Server, log *slog.Logger) *guard {
	return &guard{server: server, log: log, pace: map[*mochi.Client]*rate.Limiter{},
		kept: map[string]struct{}{}}
}

func (*guard) ID() string { return "guard" }

func (*guard) Provides(b byte) bool {
	switch b {
	case mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish, mochi.OnSubscribe, mochi.OnWill,
		mochi.OnClientExpired, mochi.OnDisconnect:
		return true
	}
	return false
}

// isCommand matches control/command below any root.
func isCommand(topic string) bool { return strings.HasSuffix(topic, "/control/command") }

// OnConnectAuthenticate refuses what would get around the other guards. A will is sent at once: mochi keeps a delayed one for
// every client that ever was.
func (g *guard) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	cl.Properties.Will.WillDelayInterval = 0
	return g.mayConnect(cl, pk)
}

// OnACLCheck keeps $SYS the broker's own.
func (*guard) OnACLCheck(_ *mochi.Client, topic string, write bool) bool {
	return !write || !reserved(topic)
}

func reserved(topic string) bool { return strings.HasPrefix(topic, "$") }

// OnPublish slows a client down to its rate by not reading on, so that nothing is lost and nobody else waits. Retained
// commands are refused: they would be carried out again by every controller that connects later.
func (g *guard) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if r := g.limiter(cl).Reserve(); r.OK() {
		time.Sleep(r.Delay())
	}
	if !pk.FixedHeader.Retain {
		return pk, nil
	}
	if isCommand(pk.TopicName) {
		g.warn("a retained command was refused: publish it without the retain flag", "client", cl.ID)
		if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos > 0 {
			return pk, packets.ErrRetainNotSupported
		}
		return pk, packets.CodeSuccessIgnore
	}
	pk.FixedHeader.Retain = g.mayRetain(cl, pk.TopicName)
	return pk, nil
}

func (g *guard) limiter(cl *mochi.Client) *rate.Limiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	l, ok := g.pace[cl]
	if !ok {
		l = rate.NewLimiter(publishRate, publishBurst)
		g.pace[cl] = l
	}
	return l
}

// OnDisconnect forgets the client, and its session if that ends with it.
func (g *guard) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	g.mu.Lock()
	delete(g.pace, cl)
	g.mu.Unlock()
	if expire && !cl.IsTakenOver() {
		g.forget(cl.ID)
	}
}

func (g *guard) warn(text string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.warned) > time.Minute {
		g.warned = now
		g.log.Warn(text, args...)
	}
}
