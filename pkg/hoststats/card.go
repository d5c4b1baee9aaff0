package hoststats

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/safchain/ethtool"
)

// Card watches what a network card discarded before the host saw it: for want of buffers, time or, in a cloud, allowance.
// What XDP drops is not among it. Its methods may be called from one goroutine at a time.
type Card struct {
	iface string
	read  func(iface string) (map[string]uint64, error)
	last  map[string]uint64 // by family
}

// NewCard watches the card of an interface in the network namespace of the calling thread.
func NewCard(iface string) *Card { return &Card{iface: iface, read: readCard} }

// Discards returns how many packets the card has discarded since the last call; the first only begins, and returns 0. Cards
// count one packet under several names, so the largest increase counts: never too much, and too little where a card discards in
// two places at once.
func (c *Card) Discards() (uint64, error) {
	raw, err := c.read(c.iface)
	if err != nil {
		return 0, err
	}
	now := families(raw)
	was := c.last
	c.last = now
	var most uint64
	for name, n := range now {
		if before, known := was[name]; known && n > before { // less: the driver was reset
			most = max(most, n-before)
		}
	}
	return most, nil
}

// discardNames are the names of the counters, behind a queue's. Generic ones such as rx_dropped are not among them: they hold what
// XDP drops on some drivers, and what nobody wanted to have on others.
var discardNames = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`rx_missed(?:_errors)?`, // /sys/class/net/*/statistics, and the same from most drivers: no buffer was free
	`rx_fifo(?:_errors)?`,
	`rx_over(?:_errors|runs?|flow)`,
	`rx_no_buffers?(?:_count)?`,                         // e1000e, igb, ixgbe
	`rx_no_dma_resources`,                               // ixgbe
	`(?:port\.)?rx_discards`,                            // i40e, bnxt
	`port\.rx_dropped`,                                  // i40e
	`rx_dropped\.nic`,                                   // ice
	`rx_out_of_buffer`,                                  // mlx5
	`rx_discards_phy`,                                   // mlx5
	`rx_total_(?:oom_)?discards?(?:_pkts)?`,             // bnxt
	`rx_hw_drop_(?:overruns|ratelimits)`,                // virtio_net
	`pkts rx oob`,                                       // vmxnet3
	`rx_no_memory`,                                      // hv_netvsc
	`rx_(?:queue_drop_cnt|no_buffers_posted)`,           // gve
	`dropped_(?:overrun|no_small_buffer|no_big_buffer)`, // myri10ge
	`(?:bw_in|pps|conntrack)_allowance_exceeded`,        // ena: what the cloud took away
}, "|") + `)$`)

// place is where in its name a counter says which queue it is of, or that it is the kernel's.
var place = regexp.MustCompile(`^(?:rx_queue_[0-9]+_|rx[0-9]+_|queue_[0-9]+_|\[[0-9]+\]: ?|sys )|\[[0-9]+\]$`)

var digits = regexp.MustCompile(`[0-9]+`)

// families sums the queues' counters under their common name, and leaves out what isn't a discard.
func families(raw map[string]uint64) map[string]uint64 {
	sums := map[string]uint64{}
	for name, n := range raw {
		name = strings.ToLower(strings.TrimSpace(name))
		base := place.ReplaceAllString(name, "")
		if discardNames.MatchString(base) || base != name && discardNames.MatchString("rx_"+base) {
			sums[digits.ReplaceAllString(name, "#")] += n
		}
	}
	return sums
}

// readCard reads the kernel's common counters and the driver's own. Many drivers have none of their own, which is no error.
func readCard(iface string) (map[string]uint64, error) {
	all := map[string]uint64{}
	if isOurs(iface) {
		for _, name := range []string{"rx_missed_errors", "rx_fifo_errors", "rx_over_errors"} {
			text, err := sysText(iface, "statistics/"+name)
			if err != nil {
				return nil, err
			}
			if all["sys "+name], err = strconv.ParseUint(text, 10, 64); err != nil {
				return nil, fmt.Errorf("read %s of %s: %w", name, iface, err)
			}
		}
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return nil, fmt.Errorf("ask the driver of %s: %w", iface, err)
	}
	defer e.Close()
	driver.Lock()
	defer driver.Unlock()
	own, err := e.StatsWithBuffer(iface, &driver.names, &driver.values)
	if err != nil {
		own = nil // a driver without statistics
	}
	maps.Copy(all, own)
	return all, nil
}

// driver is where a driver writes its counters. There is room for 32,768, in 1.3 MB, of which none takes more than some KB: what was never
// touched of the program's own zeros isn't in memory, while on the heap it would be made, cleared and collected with each look.
var driver struct {
	sync.Mutex
	names  ethtool.EthtoolGStrings
	values ethtool.EthtoolStats
}

// isOurs tells whether sysfs shows this network namespace's interface: in a container it may be the host's.
func isOurs(iface string) bool {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return false
	}
	index, err := sysText(iface, "ifindex")
	address, also := sysText(iface, "address")
	known := len(i.HardwareAddr) == 0 || address == i.HardwareAddr.String()
	return err == nil && also == nil && known && index == strconv.Itoa(i.Index)
}

func sysText(iface, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/sys/class/net", iface, name))
	return strings.TrimSpace(string(b)), err
}
