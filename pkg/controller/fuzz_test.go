package controller

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/bustest"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Whatever arrives as a command is answered exactly once, and changes the datapath only if it is one that may.
func FuzzExecute(f *testing.F) {
	for _, payload := range []string{
		`{"command":"enable_rate_limiting"}`,
		`{"command":"enable_rate_limiting","rate":1,"burst":3600,"ttl_seconds":86400}`,
		`{"command":"enable_rate_limiting","rate":1000000000000}`,
		`{"command":"disable_rate_limiting","id":"1","origin":"bob"}`,
		`{"command":"scale_up_servers"}`,
		`{"command":"enable_rate_limiting","command":"dance"}`,
		`{"command":"block_source","source":"192.0.2.0/24","ttl_seconds":60}`,
		`{"command":"allow_source","source":"2001:db8::/16"}`,
		`{"command":"block_source","source":"198.51.100.0/24"}`,
		`{"command":"unblock_source","source":"0.0.0.0/0"}`,
		`{`, `null`, ``, "\xff",
	} {
		f.Add([]byte(payload), false)
	}
	f.Fuzz(func(t *testing.T, payload []byte, retained bool) {
		l := &fakeLimiter{}
		c, err := New(DefaultConfig(), &bustest.Fake{}, l, io.Discard, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			t.Fatal(err)
		}
		lister := &fakeLister{entries: map[string]datapath.ListEntry{}}
		own := netip.MustParseAddr("198.51.100.1")
		c.KeepLists(Lists{Lister: lister, Logins: func() ([]netip.Addr, error) { return nil, nil },
			Own: func() ([]netip.Addr, error) { return []netip.Addr{own}, nil }})
		c.execute(time.Now(), bus.Message{Topic: c.cfg.Root.Command(), Payload: payload, Retained: retained})
		if retained {
			if len(c.reports.queue) != 0 || l.changes+lister.puts != 0 {
				t.Error("a retained command was answered or done")
			}
			return
		}
		if len(c.reports.queue) != 1 {
			t.Fatalf("%d answers", len(c.reports.queue))
		}
		answer, err := wire.DecodeStatus(c.reports.queue[0].Payload)
		if err != nil {
			t.Fatalf("answer %q: %v", c.reports.queue[0].Payload, err)
		}
		cmd, err := wire.DecodeCommand(payload)
		done := answer.Status == wire.Success
		if done != (l.changes+lister.puts == 1) || done && err != nil || answer.ID != cmd.ID || answer.Origin != cmd.Origin {
			t.Errorf("answer %+v, %d changes, decoded %+v, %v", answer, l.changes, cmd, err)
		}
		for _, e := range lister.entries {
			if e.Prefix.Bits() < shortest4 || e.TTL < time.Second || e.TTL > 24*time.Hour || e.Kind == datapath.ListBlock && e.Prefix.Contains(own) {
				t.Errorf("listed %+v", e)
			}
		}
		if l.on && (l.limit.Validate() != nil || time.Until(l.until) > 24*time.Hour) {
			t.Errorf("enabled %+v until %v", l.limit, l.until)
		}
	})
}
