package broker

import (
	"context"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// sweepEvery is how long a client may stay whose identity has ended or was revoked. It can't do anything in that time: each of its
// packets is judged anew.
const sweepEvery = 500 * time.Millisecond

func (g *guard) sweepUntil(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.sweep()
		case <-ctx.Done():
			return
		}
	}
}

// sweep takes over what was reloaded, and ends clients that are trusted no longer, with the sessions that they left.
func (g *guard) sweep() {
	if err := g.members.refresh(); err != nil {
		g.complaints.Warn(time.Now(), "the trust file can't be used", "err", err)
	}
	if err := g.members.pair.Refresh(); err != nil {
		g.complaints.Warn(time.Now(), "the broker keeps its old certificate", "err", err)
	}
	for _, cl := range g.server.Clients.GetAll() {
		if cl.Net.Inline {
			continue
		}
		_, err := g.members.find(cl.Properties.Username)
		if err == nil {
			continue
		}
		if cl.Closed() {
			g.drop(cl)
			continue
		}
		g.warn("a client was disconnected", "client", cl.ID, "err", err)
		go g.end(cl) // it may be one that doesn't read
	}
}

// end disconnects a client, and keeps its will back, which would be its last word.
func (g *guard) end(cl *mochi.Client) {
	atomic.StoreUint32(&cl.Properties.Will.Flag, 0)
	_ = g.server.DisconnectClient(cl, packets.ErrNotAuthorized) // it returns the code
}
