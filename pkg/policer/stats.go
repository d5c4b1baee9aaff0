package policer

import (
	"math"
)

// Stats are SYNs since the policer was first used on the interface; those before a restart included, if they are fewer than 2^32.
type Stats struct {
	Seen          uint64 // while filters were there
	DroppedSource uint64 // over an offender's rate
	DroppedTotal  uint64 // over the rate of all
}

// Passed is what was let through.
func (s Stats) Passed() uint64 { return s.Seen - s.DroppedSource - s.DroppedTotal }

// counted widens the kernel's 32 bits.
type counted struct {
	last  map[uint32]uint32 // by slot
	drops map[uint32]uint64
}

func (c *counted) add(slot, drops uint32) uint64 {
	if c.last == nil {
		c.last, c.drops = map[uint32]uint32{}, map[uint32]uint64{}
	}
	since := drops - c.last[slot]
	if since > math.MaxInt32 { // no wrap: the action was made anew
		since = drops
	}
	c.drops[slot] += uint64(since)
	c.last[slot] = drops
	return c.drops[slot]
}

// Stats reads them from the kernel, but where nothing was to be read before, only once somebody has changed something. They outlive
// filters, not Remove.
func (p *Policer) Stats() (Stats, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if changed := p.changes.Changed(); p.blank && !changed {
		return Stats{}, nil
	}
	p.blank = false
	all, err := p.tc.ListPolice()
	if err != nil {
		return Stats{}, err
	}
	var s Stats
	p.blank = true
	for _, a := range all {
		if a.Index&^0xff != p.base || !ours(a) {
			continue
		}
		p.blank = false
		switch slot := a.Index & 0xff; {
		case slot == totalSlot:
			s.Seen += a.Seen
			s.DroppedTotal += p.counted.add(slot, a.Drops)
		case slot < slots:
			drops := p.counted.add(slot, a.Drops)
			s.Seen += drops // the total sees the rest
			s.DroppedSource += drops
		}
	}
	return s, nil
}
