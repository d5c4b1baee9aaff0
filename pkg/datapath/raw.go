package datapath

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// The one key of the control and info maps.
const only = uint32(0)

func readControl(m *ebpf.Map) (bpfWeirControl, error) {
	var raw bpfWeirControl
	if err := m.Lookup(only, &raw); err != nil {
		return raw, fmt.Errorf("read the control map: %w", err)
	}
	return raw, nil
}

func writeControl(m *ebpf.Map, raw bpfWeirControl) error {
	if err := m.Put(only, raw); err != nil {
		return fmt.Errorf("write the control map: %w", err)
	}
	return nil
}

func readInfo(m *ebpf.Map) (bpfWeirInfo, error) {
	var raw bpfWeirInfo
	if err := m.Lookup(only, &raw); err != nil {
		return raw, fmt.Errorf("read the info map: %w", err)
	}
	return raw, nil
}

// peersKnown is WEIR_PEERS_KNOWN.
const peersKnown = 2

// The modes; enum weir_mode.
const (
	modeObserve = iota
	modeEnforce
)

func (raw bpfWeirControl) decode(now uint64) Control {
	c := Control{
		Enforce:    raw.Mode == modeEnforce,
		Limit:      Limit{Rate: uint64(raw.Rate), Burst: uint64(raw.Burst)},
		Generation: raw.Generation,
		Challenge:  Challenge(raw.Challenge),
	}
	if c.Enforce && raw.UntilNs > now {
		c.Lease = time.Duration(raw.UntilNs - now)
	}
	if raw.ArmedUntilNs > now {
		c.Armed = time.Duration(raw.ArmedUntilNs - now)
	}
	c.Unverified = Limit{Rate: uint64(raw.Unverified.Rate), Burst: uint64(raw.Unverified.Burst)}
	c.Challenging = c.Challenge == ChallengeAlways && c.Enforcing()
	return c
}

// note adds what auto has decided.
func (c *Control) note(auto bpfWeirSpoofing, now uint64) {
	c.ChallengeStarts = auto.Starts
	if c.Challenge == ChallengeAuto && (c.Enforcing() || c.Armed > 0) && auto.UntilNs > now {
		c.Challenging = true
		c.ChallengingFor = time.Duration(now - min(auto.SinceNs, now))
	}
}

// set puts a limit in, in the kernel's units.
func (raw *bpfWeirControl) set(l Limit) {
	raw.Rate, raw.Burst = uint32(l.Rate), uint32(l.Burst)
	raw.Interval, raw.Tolerance = l.interval(), l.tolerance()
}

// goString reads a NUL-padded C string.
func goString(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return string(b)
}

// cString writes one, cut so that a NUL remains.
func cString(to []int8, s string) {
	clear(to)
	for i := 0; i < len(s) && i < len(to)-1; i++ {
		to[i] = int8(s[i])
	}
}
