package broker

import (
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"
)

// allowance is what a client may send, averaged over a while. Whoever holds more has a burst of that at first, so what all members may send
// at once bounds how long a command can wait behind them.
type allowance struct {
	packets      rate.Limit // per second, acknowledgements apart
	packetsBurst int
	bytes        rate.Limit // per second
	bytesBurst   int
}

var (
	// strangerPace is of each client of a broker on loopback, where all components run.
	strangerPace = allowance{packets: 1000, packetsBurst: 2000, bytes: 16 << 20, bytesBurst: 64 << 20}
	// memberPace is of all clients of one identity together. A sensor sends a packet or two of a kilobyte in a second; a monitor of hundreds
	// of servers acknowledges as many.
	memberPace = allowance{packets: 100, packetsBurst: 50, bytes: 256 << 10, bytesBurst: 256 << 10}
)

const (
	ackBytes = 64                     // what an acknowledgement counts as at least: reading one costs more than its four bytes say
	nap      = 100 * time.Millisecond // until a client that is slowed down is looked at: it may be gone
)

// pace is what is left of an allowance.
type pace struct{ packets, bytes *rate.Limiter }

// OnPacketRead slows a client down to its rate by not reading on, so that nothing is lost and nobody else waits; whatever it sends, and
// whether it is allowed to or not: all costs the broker as much.
func (g *guard) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Connect: // nobody yet; the door counts these
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp: // as many as others publish
		g.slow(cl, 0, max(pk.FixedHeader.Remaining, ackBytes))
	default:
		g.slow(cl, 1, pk.FixedHeader.Remaining)
	}
	return pk, nil
}

// slow waits until a client may go on, or is gone.
func (g *guard) slow(cl *mochi.Client, packets, bytes int) {
	p := g.paceOf(cl)
	now := time.Now()
	until := now.Add(max(p.packets.ReserveN(now, packets).DelayFrom(now), p.bytes.ReserveN(now, bytes).DelayFrom(now)))
	for left := time.Until(until); left > 0 && !cl.Closed(); left = time.Until(until) {
		time.Sleep(min(left, nap))
	}
}

func (g *guard) paceOf(cl *mochi.Client) *pace {
	var key any = cl
	may := strangerPace
	if g.members != nil {
		key, may = string(cl.Properties.Username), memberPace
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.pace[key]
	if p == nil {
		p = &pace{rate.NewLimiter(may.packets, may.packetsBurst), rate.NewLimiter(may.bytes, may.bytesBurst)}
		g.pace[key] = p
	}
	return p
}
