package hoststats

import (
	"errors"
	"testing"
)

// Names as `ethtool -S` prints them on cards of these drivers.
var cards = map[string]struct {
	stats map[string]uint64 // increases
	want  uint64
}{
	"ixgbe":      {map[string]uint64{"rx_missed_errors": 70, "sys rx_missed_errors": 70, "rx_no_dma_resources": 65, "rx_packets": 1000}, 70},
	"igb":        {map[string]uint64{"rx_no_buffer_count": 12, "rx_fifo_errors": 30, "rx_queue_0_drops": 5, "rx_queue_1_drops": 5}, 30},
	"i40e":       {map[string]uint64{"port.rx_discards": 9, "rx_dropped": 9, "rx-3.packets": 4}, 9},
	"ice":        {map[string]uint64{"rx_dropped.nic": 8, "rx_dropped": 2}, 8},
	"mlx5":       {map[string]uint64{"rx_out_of_buffer": 40, "rx_discards_phy": 3, "rx0_xdp_drop": 900, "rx_xdp_drop": 900}, 40},
	"bnxt":       {map[string]uint64{"[0]: rx_discards": 10, "[1]: rx_discards": 11, "rx_total_discard_pkts": 20, "rx_drop_pkts": 99}, 21},
	"ena":        {map[string]uint64{"bw_in_allowance_exceeded": 5, "pps_allowance_exceeded": 50, "queue_0_rx_xdp_drop": 99}, 50},
	"virtio_net": {map[string]uint64{"rx_queue_0_drops": 900, "rx_queue_0_xdp_drops": 900, "rx0_hw_drop_overruns": 3, "rx1_hw_drop_overruns": 4}, 7},
	"vmxnet3":    {map[string]uint64{"  pkts rx OOB": 6, "  drv dropped rx total": 6}, 6},
	"hv_netvsc":  {map[string]uint64{"rx_no_memory": 2, "rx_comp_busy": 7}, 2},
	"gve":        {map[string]uint64{"rx_queue_drop_cnt[0]": 1, "rx_queue_drop_cnt[1]": 2, "rx_dropped_pkt[0]": 50}, 3},
	"veth":       {map[string]uint64{"rx_queue_0_xdp_drops": 1000, "rx_queue_0_drops": 1000, "peer_ifindex": 3}, 0},
}

func TestDiscardsOfEachDriver(t *testing.T) {
	for driver, x := range cards {
		c := &Card{read: func(string) (map[string]uint64, error) {
			stats := map[string]uint64{}
			for name := range x.stats {
				stats[name] = 1_000_000 // from before
			}
			return stats, nil
		}}
		if n, err := c.Discards(); n != 0 || err != nil {
			t.Errorf("%s: the first call returns %d, %v", driver, n, err)
		}
		before := c.read
		c.read = func(string) (map[string]uint64, error) {
			stats, err := before("")
			for name, n := range x.stats {
				stats[name] += n
			}
			return stats, err
		}
		if n, err := c.Discards(); n != x.want || err != nil {
			t.Errorf("%s: %d, %v; want %d", driver, n, err, x.want)
		}
		c.read = func(string) (map[string]uint64, error) { return map[string]uint64{"rx_missed_errors": 5}, nil }
		if n, err := c.Discards(); n != 0 || err != nil {
			t.Errorf("%s: a reset counts as %d, %v", driver, n, err)
		}
	}
}

func TestDiscardsTellWhatIsWrong(t *testing.T) {
	c := &Card{read: func(string) (map[string]uint64, error) { return nil, errors.ErrUnsupported }}
	if _, err := c.Discards(); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// Every machine has a loopback, whose driver has no statistics of its own and never discards.
func TestDiscardsOfLoopback(t *testing.T) {
	c := NewCard("lo")
	for range 2 {
		if n, err := c.Discards(); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if raw, err := readCard("lo"); err != nil || len(raw) < 3 {
		t.Errorf("%v, %v", raw, err)
	}
}
