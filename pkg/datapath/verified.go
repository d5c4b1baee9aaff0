package datapath

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Verified returns how many sources have completed a handshake within the last hour, as far as the table holds them.
func (r *Reader) Verified() (int, error) {
	raw, err := readControl(r.control)
	if err != nil {
		return 0, err
	}
	table, err := r.verified.Memory()
	if err != nil {
		return 0, fmt.Errorf("map the table of verified sources: %w", err)
	}
	b := make([]byte, table.Size())
	if _, err := table.ReadAt(b, 0); err != nil {
		return 0, fmt.Errorf("read the table of verified sources: %w", err)
	}
	n, now := 0, monotonicNow()>>tickShift&tickMask
	for ; len(b) >= sourceBytes; b = b[sourceBytes:] {
		bucket := binary.NativeEndian.Uint64(b[8:])
		if binary.NativeEndian.Uint64(b) == 0 {
			continue
		}
		idle := (now - bucket>>countBits) & tickMask
		if idle < verifiedTicks || backlog(bucket, now, raw.Interval, raw.Tolerance) > 0 {
			n++
		}
	}
	return n, nil
}

// verifiedTicks is VERIFIED_TICKS of bpf/spoofing.h.
const verifiedTicks = uint64(time.Hour) >> tickShift
