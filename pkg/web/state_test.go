package web

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/weir-sensor/weir/pkg/history"
)

// What has stopped coming isn't shown as live because something else still comes.
func TestStaleFiguresAreLeftOut(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	for topic, payload := range map[string]string{
		"cpu": `{"cpu_usage": 99}`, "ram": `{"ram_usage": 9}`, "network": `{"active_tcp_connections": 5, "syn_packet_count": 6}`,
	} {
		w.hear(root+"/metrics/"+topic, payload)
	}
	s, now := w.servers[root], time.Now()
	at := func(cpu, ram, network time.Duration) condition {
		s.heard = heard{now.Add(-cpu), now.Add(-ram), now.Add(-network)}
		return w.conditions(now).Servers[0]
	}
	const old = 13 * time.Second
	if c := at(0, 0, 0); c.Condition != Strained || c.CPU == nil || c.RAM == nil || c.SYNs == nil || c.Conns == nil {
		t.Errorf("all is live: %+v", c)
	}
	if c := at(old, 0, 0); c.Condition != Calm || c.CPU != nil || c.RAM == nil || c.SYNs == nil {
		t.Errorf("the CPU's is old: %+v", c)
	}
	if c := at(0, old, 0); c.RAM != nil || c.CPU == nil {
		t.Errorf("the RAM's is old: %+v", c)
	}
	if c := at(0, 0, old); c.Condition != Silent || c.SYNs != nil || c.Conns != nil || c.Heard != now.Add(-old).UnixMilli() {
		t.Errorf("the network's is old: %+v", c)
	}
}

// A page is told that all is as it was, so that it can tell that from a connection that is dead.
func TestBeat(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	srv := httptest.NewServer(w.handler())
	defer srv.Close()
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/api/live", nil)
	must(t, err)
	defer func() { _ = c.CloseNow() }()
	for {
		_, b, err := c.Read(t.Context())
		must(t, err)
		var m struct {
			Type string
			Now  int64
		}
		must(t, json.Unmarshal(b, &m))
		if m.Type == "beat" {
			if d := time.Since(time.UnixMilli(m.Now)); d < 0 || d > time.Minute {
				t.Errorf("it says that it is %v ago", d)
			}
			return
		}
	}
}

func TestLatestRowsAreBoundedByTheirText(t *testing.T) {
	var r rows
	for i := range 10 {
		r.add(&event{At: int64(i), Text: strings.Repeat("x", 100)})
	}
	for _, row := range []struct{ n, bytes, want int }{{3, 1000, 3}, {20, 1000, 10}, {20, 350, 3}, {20, 99, 0}} {
		if got := r.latest(row.n, row.bytes); len(got) != row.want || len(got) > 0 && got[len(got)-1].At != 9 {
			t.Errorf("%+v: %d rows", row, len(got))
		}
	}
}

// After a restart a flood of messages on one topic hides nothing of another's.
func TestRecallOfEachTab(t *testing.T) {
	path, log := filepath.Join(t.TempDir(), "h.db"), slog.New(slog.DiscardHandler)
	h, err := history.Open(t.Context(), path, history.Limits{}, log)
	must(t, err)
	now := time.Now()
	add := func(tab, topic, payload string) {
		h.Add(history.Record{At: now.Add(-time.Minute), Root: root, Kind: tab, Topic: root + topic, Payload: []byte(payload)})
	}
	add(tabAlerts, "/alerts", `{"alert": "x", "metric": "syn_packet_count", "state": "raised"}`)
	for i := range 7 * maxRows {
		add(tabCPU, "/metrics/cpu", `{"cpu_usage": 1}`)
		if i%3000 == 2999 {
			time.Sleep(200 * time.Millisecond) // it takes what the disk does
		}
	}
	must(t, h.Close())
	h, err = history.Open(t.Context(), path, history.Limits{}, log)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	w := newWeb(t, &fakeBus{}, h)
	w.recall(t.Context(), now)
	s := w.servers[root]
	if len(s.rows[tabCPU].all) != maxRows || len(s.rows[tabAlerts].all) != 1 || !s.raised("syn_packet_count") {
		t.Errorf("%d CPU rows, %d alerts", len(s.rows[tabCPU].all), len(s.rows[tabAlerts].all))
	}
}
