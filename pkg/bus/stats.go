package bus

import "sync/atomic"

// Stats are what a client has done since it was made.
type Stats struct {
	Connected bool
	Connects  uint64 // that succeeded, the first included
	Failures  uint64 // attempts to connect that didn't succeed
	Sent      uint64 // messages, as the broker has acknowledged them or, for BestEffort, as they were written
	Received  uint64
	Refused   uint64 // of Received: not to be acted on
	LostIn    uint64 // came faster than they were handled
	LostOut   uint64 // waited for a broker that was away for too long, or that didn't take them
	Queued    int    // wait for the broker
}

// counts are Stats in the making.
type counts struct {
	connects, failures, sent, received, refused, lostIn, lostOut atomic.Uint64
}

// Stats may be called from any goroutine.
func (c *Client) Stats() Stats {
	n := &c.counts
	return Stats{
		Connected: c.Connected(), Connects: n.connects.Load(), Failures: n.failures.Load(),
		Sent: n.sent.Load(), Received: n.received.Load(), Refused: n.refused.Load(),
		LostIn: n.lostIn.Load(), LostOut: n.lostOut.Load(), Queued: c.out.waiting(),
	}
}
