package sensor

import (
	"context"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// What a sensor knows is as of now, not of its last report, and asking changes nothing that it reports.
func TestStats(t *testing.T) {
	in(t, func(b *bench) {
		b.datapath.syns(1e6) // adopted
		b.card.discards = 3
		b.run()
		until(6 * time.Second)
		b.datapath.syns(500)
		until(7100 * time.Millisecond)
		for range 1000 { // must not push samples out of the window
			if _, err := b.sensor.Stats(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		b.datapath.syns(7)
		s, err := b.sensor.Stats(context.Background())
		if err != nil || s.Counters.Offered(datapath.ClassSYN).Packets != 1_000_507 || s.SYNs != 500 || s.Rates[datapath.ClassSYN] < 450 || s.Rates[datapath.ClassUDP] != 0 ||
			s.CPU != 50.1234 || s.RAM != 25 || s.TCP.Established != 7 || s.NICDiscards != 3 || s.Lost != 0 {
			t.Errorf("%v: SYNs %d, rates %v, %+v", err, s.SYNs, s.Rates, s.TCP)
		}
		until(11 * time.Second)
		if n := b.networks(); len(n) != 2 || n[1].SYNPacketCount != 507 {
			t.Errorf("reports %+v", n)
		}
		b.end()
		late, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := b.sensor.Stats(late); err != ErrBusy {
			t.Errorf("a sensor that has ended: %v", err)
		}
	})
}
