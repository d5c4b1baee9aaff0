package broker

import (
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What clients leave behind or pile up: wills, kept sessions, subscriptions.

// mayConnect refuses what would get around the other guards.
func (g *guard) mayConnect(cl *mochi.Client, pk packets.Packet) bool {
	// mochi publishes a will without asking OnACLCheck or OnPublish.
	if will := pk.Connect.WillTopic; pk.Connect.WillFlag && (isCommand(will) || reserved(will)) {
		g.warn("a client was refused: a last will can't be a command", "client", cl.ID, "topic", will)
		return false
	}
	if keepsSession(cl) && !g.keep(cl.ID) {
		g.warn("a client was refused: too many sessions are kept for clients that are away; connect with a clean session",
			"client", cl.ID)
		return false
	}
	return true
}

func keepsSession(cl *mochi.Client) bool {
	if cl.Properties.ProtocolVersion < 5 {
		return !cl.Properties.Clean
	}
	return cl.Properties.Props.SessionExpiryInterval > 0
}

// keep notes a session, unless there are too many.
func (g *guard) keep(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.kept[id]; !known && len(g.kept) >= maxSessions {
		return false
	}
	g.kept[id] = struct{}{}
	return true
}

func (g *guard) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.kept, id)
}

// OnWill keeps wills within the bound on retained topics.
func (g *guard) OnWill(cl *mochi.Client, will mochi.Will) (mochi.Will, error) {
	will.Retain = will.Retain && g.mayRetain(cl, will.TopicName)
	return will, nil
}

func (g *guard) mayRetain(cl *mochi.Client, topic string) bool {
	if _, known := g.server.Topics.Retained.Get(topic); known || g.server.Topics.Retained.Len() < maxRetained {
		return true
	}
	g.warn("too many retained topics: one was delivered but not kept", "client", cl.ID)
	return false
}

// OnSubscribe ends a client with too many subscriptions.
func (g *guard) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if cl.State.Subscriptions.Len()+len(pk.Filters) > maxSubscriptions {
		g.warn("a client was disconnected: too many subscriptions", "client", cl.ID)
		pk.Filters = nil
		_ = g.server.DisconnectClient(cl, packets.ErrQuotaExceeded) // it returns the code
	}
	return pk
}

// drop ends the session of a client whose connection has ended, unless another one has its ID by now.
func (g *guard) drop(cl *mochi.Client) {
	if now, ok := g.server.Clients.Get(cl.ID); !ok || now != cl {
		return
	}
	cl.ClearInflights()
	g.OnClientExpired(cl)
	g.server.Clients.Delete(cl.ID)
}

// OnClientExpired takes out the subscriptions of a session, which mochi leaves behind.
func (g *guard) OnClientExpired(cl *mochi.Client) {
	g.server.UnsubscribeClient(cl)
	g.forget(cl.ID)
}
