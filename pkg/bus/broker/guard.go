package broker

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/weir-sensor/weir/pkg/access"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/door"
)

// guard is the broker's policy, as a hook. Without members it lets everybody in, since the broker is for loopback.
type guard struct {
	mochi.HookBase
	server     *mochi.Server
	members    *members // nil for everybody
	door       *door.Door
	complaints console.Complaints // one line a minute of each, whoever misbehaves

	mu   sync.Mutex
	pace map[any]*pace       // by *mochi.Client, or by the name of an identity
	kept map[string]struct{} // IDs of the clients whose sessions outlast their connections

	refused atomic.Uint64
}

// strangers are treated otherwise in tests.
var strangers = door.Default

func newGuard(server *mochi.Server, who *members, log *slog.Logger) *guard {
	g := &guard{server: server, members: who, complaints: console.Complaints{Log: log, Every: time.Minute}, pace: map[any]*pace{}, kept: map[string]struct{}{}}
	g.door = door.New(strangers, g.warn)
	return g
}

func (*guard) ID() string { return "guard" }

func (*guard) Provides(b byte) bool {
	switch b {
	case mochi.OnConnectAuthenticate, mochi.OnPacketRead, mochi.OnACLCheck, mochi.OnPublish, mochi.OnSubscribe, mochi.OnWill,
		mochi.OnClientExpired, mochi.OnDisconnect:
		return true
	}
	return false
}

// probe returns when the policy can be asked.
func (g *guard) probe() {
	g.mu.Lock()
	defer g.mu.Unlock()
}

// isCommand matches control/command below any root.
func isCommand(topic string) bool { return strings.HasSuffix(topic, "/control/command") }

// OnConnectAuthenticate refuses what would get around the other guards. A will is sent at once: mochi keeps a delayed one for
// every client that ever was.
func (g *guard) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	cl.Properties.Will.WillDelayInterval = 0
	if g.members != nil {
		if err := g.members.mayEnter(cl, pk.Connect); err != nil {
			g.warn("a client was refused", "remote", cl.Net.Remote, "err", err)
			return false
		}
		if g.connections(pk.Connect.Username) >= maxPerIdentity {
			g.warn("a client was refused: its identity has too many connections", "remote", cl.Net.Remote, "name", string(pk.Connect.Username))
			return false
		}
		// A client ID is of one identity only: nobody takes over another's session, nor ends it.
		cl.ID = string(pk.Connect.Username) + "/" + cl.ID
	}
	if !g.mayConnect(cl, pk) {
		return false
	}
	admit(cl.Net.Conn)
	return true
}

// admit says at the door that a client was let in.
func admit(conn net.Conn) {
	conn = underTLS(conn)
	if s, ok := conn.(*stallConn); ok {
		conn = s.Conn
	}
	if c, ok := conn.(*door.Conn); ok {
		c.Admit()
	}
}

// connections are those of an identity that are open.
func (g *guard) connections(name []byte) int {
	n := 0
	for _, c := range g.server.Clients.GetAll() {
		if bytes.Equal(c.Properties.Username, name) && !c.Closed() {
			n++
		}
	}
	return n
}

// OnACLCheck is asked for each message on its way in and out, and for filters. It keeps $SYS the broker's own. A topic that isn't
// there has an alias, which mochi looks up before OnPublish.
func (g *guard) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if strings.Count(topic, "/") >= maxLevels {
		return false
	}
	if g.members == nil {
		return !write || !reserved(topic)
	}
	do := access.Subscribe // to a topic: receive
	if write {
		do = access.Publish
	}
	if write && topic == "" {
		return true
	}
	if err := g.members.may(cl, do, topic); err != nil {
		g.warn("a client was refused", "client", cl.ID, "err", err)
		return false
	}
	return true
}

func reserved(topic string) bool { return strings.HasPrefix(topic, "$") }

// OnPublish refuses retained commands: they would be carried out again by every controller that connects later.
func (g *guard) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if g.members != nil {
		return g.judge(cl, pk)
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

// judge is OnPublish among members. Their policy knows of retained messages, which OnACLCheck isn't told of.
func (g *guard) judge(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	do := access.Publish
	if pk.FixedHeader.Retain {
		do = access.PublishRetained
	}
	if err := g.members.may(cl, do, pk.TopicName); err != nil {
		g.warn("a message was refused", "client", cl.ID, "err", err)
		if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos > 0 {
			return pk, packets.ErrNotAuthorized
		}
		return pk, packets.CodeSuccessIgnore
	}
	pk.FixedHeader.Retain = pk.FixedHeader.Retain && g.mayRetain(cl, pk.TopicName)
	return pk, nil
}

// OnDisconnect forgets the client, and its session if that ends with it. An identity's pace goes on: who comes back has no new burst.
func (g *guard) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	g.mu.Lock()
	delete(g.pace, cl)
	g.mu.Unlock()
	if expire && !cl.IsTakenOver() {
		g.forget(cl.ID)
	}
}

// warn is for whom or what is refused, each time.
func (g *guard) warn(text string, args ...any) {
	g.refused.Add(1)
	g.complaints.Warn(time.Now(), text, args...)
}
