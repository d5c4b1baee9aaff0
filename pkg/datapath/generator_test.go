package datapath

import (
	"bytes"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// tcpReceived are the segments that came to a host over both families, and those among them whose checksum was wrong.
func tcpReceived(t *testing.T, h *te.Host) (all, wrong int) {
	t.Helper()
	var b []byte
	var err error
	h.Do(t, func() { b, err = os.ReadFile("/proc/thread-self/net/snmp") })
	must(t, err)
	var names []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if fields[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			switch name {
			case "InSegs":
				all, err = strconv.Atoi(fields[i])
			case "InCsumErrors":
				wrong, err = strconv.Atoi(fields[i])
			}
			must(t, err)
		}
	}
	return all, wrong
}

// The kernel itself judges what the benchmarks send.
func TestGeneratedSYNsAreRight(t *testing.T) {
	to, from := te.Pair(t)
	for name, options := range map[string][]byte{
		"linux": nil, "none": {}, "windows": make([]byte, 12), "40 bytes": bytes.Repeat([]byte{1}, 40),
	} {
		for _, target := range []netip.AddrPort{to.Addr(443), to.Addr6(443)} {
			before, wrongBefore := tcpReceived(t, to)
			from.Do(t, func() {
				f, err := flood.New(flood.Options{
					Interface: from.Interface, Source: from.MAC, Destination: to.MAC, Target: target, TCPOptions: options,
					FirstSource: netip.MustParseAddr("10.0.0.1"), NumSources: 1000,
				})
				must(t, err)
				_, err = f.Send(100)
				must(t, err)
				must(t, f.Close())
			})
			te.Eventually(t, 2*time.Second, "90 of 100 frames", func() bool { all, _ := tcpReceived(t, to); return all-before >= 90 })
			if _, wrong := tcpReceived(t, to); wrong != wrongBefore {
				t.Errorf("%s options to %v: %d wrong checksums", name, target, wrong-wrongBefore)
			}
		}
	}
}
