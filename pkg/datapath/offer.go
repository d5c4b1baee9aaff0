package datapath

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"
)

// What a SYN-ACK may offer; WEIR_OFFER_… in bpf/abi.h.
const (
	offerNoWscale   = 15
	offerSACK       = 0x10
	offerTimestamps = 0x20
	offerECN        = 0x40
	maxWscale       = 14 // RFC 7323 section 2.3
)

// readOffer finds out what the kernel itself would offer in the calling thread's network namespace.
func readOffer() (uint16, error) {
	values := map[string]uint64{}
	for _, name := range []string{"tcp_syncookies", "tcp_window_scaling", "tcp_sack", "tcp_timestamps", "tcp_ecn", "tcp_rmem"} {
		v, err := readSysctl("/proc/sys/net/ipv4/" + name)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrNoChallenge, err)
		}
		values[name] = v
	}
	if values["tcp_syncookies"] == 0 {
		return 0, fmt.Errorf("%w while net.ipv4.tcp_syncookies is 0: run `sysctl -w net.ipv4.tcp_syncookies=1`", ErrNoChallenge)
	}
	var offer uint16 = offerNoWscale
	if values["tcp_window_scaling"] != 0 {
		most, err := readSysctl("/proc/sys/net/core/rmem_max") // not in every namespace, and rarely the larger one
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, fmt.Errorf("%w: %w", ErrNoChallenge, err)
		}
		offer = windowScale(max(most, values["tcp_rmem"]))
	}
	if values["tcp_sack"] != 0 {
		offer |= offerSACK
	}
	if values["tcp_timestamps"] != 0 {
		offer |= offerTimestamps
	}
	if values["tcp_ecn"] != 0 {
		offer |= offerECN
	}
	return offer, nil
}

// windowScale is tcp_select_initial_window's of net/ipv4/tcp_output.c, for the largest buffer a socket may get.
func windowScale(space uint64) uint16 {
	return uint16(min(max(bits.Len64(space)-1-15, 0), maxWscale))
}

// readSysctl reads a number, of several the last.
func readSysctl(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) == 0 {
		return 0, fmt.Errorf("%s is empty", path)
	}
	return strconv.ParseUint(fields[len(fields)-1], 10, 64)
}
