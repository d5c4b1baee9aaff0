package main

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// What the card discards is beyond the host if there is a flood, of SYNs or over any limit.
func TestStatusSaysWhatIsBeyondTheHost(t *testing.T) {
	of := func(class datapath.Class, v datapath.Verdict, n uint64) (c datapath.Counters) {
		c[class][v][datapath.ReasonNone].Packets = n
		return c
	}
	for _, row := range []struct {
		name     string
		recent   datapath.Counters
		discards uint64
		want     string
		beyond   bool
	}{
		{"flood of SYNs", of(datapath.ClassSYN, datapath.VerdictPass, 141), 9, "beyond host the network card discarded 9 packets", true},
		{"UDP over its budget", of(datapath.ClassUDP, datapath.VerdictWouldDrop, 1), 9, "beyond host the network card discarded 9 packets", true},
		{"challenged", of(datapath.ClassSYN, datapath.VerdictTX, 1), 9, "beyond host the network card discarded 9 packets", true},
		{"busy", of(datapath.ClassUDP, datapath.VerdictPass, 1e6), 9, "network card discarded 9 packets", false},
		{"flood that fits", of(datapath.ClassSYN, datapath.VerdictPass, 1e6), 0, "", false},
	} {
		s := newStatusOf(datapath.Info{}, datapath.Control{}, row.recent, row.recent, time.Second, nil)
		s.noteDiscards(row.discards, &row.recent, 700)
		var text strings.Builder
		if err := s.print(&text); err != nil {
			t.Fatal(err)
		}
		if s.BeyondHost != row.beyond || s.Discards != row.discards || row.want != "" != strings.Contains(text.String(), "discarded") ||
			!strings.Contains(strings.Join(strings.Fields(text.String()), " "), row.want) {
			t.Errorf("%s: %v, %d: %s", row.name, s.BeyondHost, s.Discards, text.String())
		}
	}
}
