package datapath

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

const (
	ways        = 4
	sourceBytes = 16
)

// talkers turns two snapshots of the source table into rates.
type talkers struct {
	table     *ebpf.Memory
	prev, cur []byte
	last      time.Time
}

func newTalkers(table *ebpf.Memory) *talkers {
	return &talkers{table: table, prev: make([]byte, table.Size()), cur: make([]byte, table.Size())}
}

// top compares the table with what it was. An entry whose source changed in between counts from its beginning; packets of
// a source that was replaced and came back are missed, so that a rate here is never too high.
func (t *talkers) top(now time.Time, ticks uint64, ctl bpfWeirControl, n int) ([]SourceRate, error) {
	t.prev, t.cur = t.cur, t.prev
	if _, err := t.table.ReadAt(t.cur, 0); err != nil {
		return nil, fmt.Errorf("read the source table: %w", err)
	}
	elapsed := now.Sub(t.last).Seconds()
	first := t.last.IsZero()
	t.last = now
	if first || elapsed <= 0 {
		return nil, nil
	}

	type entry struct {
		key, bucket uint64
		syns        uint64
	}
	var best []entry // descending, n at most
	for off := 0; off < len(t.cur); off += sourceBytes {
		e := entry{key: binary.NativeEndian.Uint64(t.cur[off:]), bucket: binary.NativeEndian.Uint64(t.cur[off+8:])}
		if e.key == 0 {
			continue
		}
		e.syns = e.bucket & countMask
		if binary.NativeEndian.Uint64(t.prev[off:]) == e.key {
			e.syns = counted(binary.NativeEndian.Uint64(t.prev[off+8:]), e.bucket)
		}
		if e.syns == 0 || len(best) == n && (n == 0 || e.syns <= best[n-1].syns) {
			continue
		}
		i, _ := slices.BinarySearchFunc(best, e, func(a, b entry) int { return cmp.Compare(b.syns, a.syns) })
		best = slices.Insert(best, i, e)
		best = best[:min(len(best), n)]
	}

	out := make([]SourceRate, len(best))
	for i, e := range best {
		out[i] = SourceRate{
			Source:        prefix(e.key),
			SYNsPerSecond: float64(e.syns) / elapsed,
			Limited:       limited(backlog(e.bucket, ticks, ctl.Interval, ctl.Tolerance), ctl.Tolerance),
		}
	}
	return out, nil
}

// counted is how far the count in a bucket has come. It wraps; but one that seems to have come by more than half of its range, which is
// beyond what a source sends between two looks, has begun anew: its source was replaced and came back to the same place.
func counted(was, is uint64) uint64 {
	if n := (is - was) & countMask; n <= countMask/2 {
		return n
	}
	return is & countMask
}

// longestJiffy is that of a kernel with HZ=100, in ticks.
const longestJiffy = ticksPerSecond / 100

// limited tells whether a bucket is used up. The datapath's clock stands still for a jiffy, by which a backlog reads as
// smaller here than it was there.
func limited(backlog, tolerance uint64) bool { return backlog > 0 && backlog+longestJiffy > tolerance }

// backlog is gcra_backlog of bpf/gcra.h: how far a bucket is ahead of now, in ticks.
func backlog(bucket, now, interval, tolerance uint64) uint64 {
	ahead := (bucket>>countBits - now) & tickMask
	if ahead > tolerance+interval+longestJiffy {
		return 0
	}
	return ahead
}

// prefix undoes the key of bpf/abi.h.
func prefix(key uint64) netip.Prefix {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], key)
	if b[0] == 0xff && b[1] == 0xff && b[2] == 0 && b[3] == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b[4:8])), 32)
	}
	if key == 1 { // UNSPECIFIED_PREFIX
		b = [16]byte{}
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}
