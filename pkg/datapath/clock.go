package datapath

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonicNow is the clock of bpf_ktime_get_ns, in nanoseconds.
func monotonicNow() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // documented to fail only for clocks that don't exist
	}
	return uint64(ts.Nano())
}

// Ticks are the datapath's unit of time; see WEIR_TICK_SHIFT in bpf/abi.h.
const (
	tickShift = 8
	tickBits  = 40
	tickMask  = 1<<tickBits - 1
	countBits = 24
	countMask = 1<<countBits - 1

	ticksPerSecond = uint64(time.Second) >> tickShift // 3,906,250
)
