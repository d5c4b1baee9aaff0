package monitor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

func TestForgedCommands(t *testing.T) {
	var f forged
	start := time.Unix(1_700_000_000, 0)
	why := errors.New("it isn't signed")
	for _, c := range []struct {
		s     int // seconds
		comes bool
		state string
		count float64
	}{
		{0, false, "", 0}, {1, true, wire.AlertRaised, 1}, {2, true, "", 0}, {3, true, "", 0}, {11, true, wire.AlertReminder, 3}, {12, true, "", 0},
		{71, false, "", 0}, {72, false, wire.AlertCleared, 1}, {200, false, "", 0}, {201, true, wire.AlertRaised, 1},
	} {
		now := start.Add(time.Duration(c.s) * time.Second)
		var a wire.Alert
		var ok bool
		if c.comes {
			a, ok = f.refused(now, why)
		} else {
			a, ok = f.tick(now)
		}
		if ok != (c.state != "") || a.State != c.state || a.Value != c.count || c.comes && ok && !strings.Contains(a.Alert, why.Error()) {
			t.Errorf("at %d s: %+v, %v", c.s, a, ok)
		}
	}
}
