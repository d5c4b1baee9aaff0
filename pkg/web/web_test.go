package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/history"
	"github.com/weir-sensor/weir/pkg/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fakeBus keeps what is published, and says what it is told.
type fakeBus struct {
	mu        sync.Mutex
	published []bus.Publication
	filters   []string
	err       error
	away      bool
}

func (b *fakeBus) Publish(_ context.Context, p bus.Publication) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.published = append(b.published, p)
	}
	return b.err
}

func (b *fakeBus) Subscribe(filter string, _ func(bus.Message)) error {
	b.filters = append(b.filters, filter)
	return nil
}

func (b *fakeBus) Connected() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.away
}

var testConfig = Config{
	Root: wire.DefaultRoot, Listen: "127.0.0.1:0", Interval: 5 * time.Second, Version: "test",
	Thresholds: Thresholds{CPU: 80, RAM: 80, SYNs: 700, Connections: 400},
}

const root = "<103795587>/bank_server"

func newWeb(t *testing.T, b Bus, h History) *Web {
	t.Helper()
	w, err := New(testConfig, b, h, nil, nil, slog.New(slog.DiscardHandler))
	must(t, err)
	w.tick(time.Now())
	return w
}

func (w *Web) hear(topic, payload string) {
	w.receive(bus.Message{Topic: topic, Payload: []byte(payload)})
}

// browser is the other end of a page's connection.
type browser struct {
	t *testing.T
	c *websocket.Conn
}

func (w *Web) open(t *testing.T) *browser {
	t.Helper()
	s := httptest.NewServer(w.handler())
	t.Cleanup(s.Close)
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/api/live", nil)
	must(t, err)
	c.SetReadLimit(64 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return &browser{t, c}
}

// next reads messages up to one of a type.
func (b *browser) next(kind string) map[string]any {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
	defer cancel()
	for {
		_, text, err := b.c.Read(ctx)
		if err != nil {
			b.t.Fatalf("waiting for %s: %v", kind, err)
		}
		var m map[string]any
		must(b.t, json.Unmarshal(text, &m))
		if m["type"] == kind {
			return m
		}
	}
}

func TestWarningsAreTold(t *testing.T) {
	b := &fakeBus{}
	cfg := testConfig
	cfg.Warnings = func() []string { return []string{"broker-k3v2q2xd ends in 9 days"} }
	w, err := New(cfg, b, nil, nil, nil, slog.New(slog.DiscardHandler))
	must(t, err)
	w.tick(time.Now())
	if got := fmt.Sprint(w.open(t).next("conditions")["warnings"]); got != "[broker-k3v2q2xd ends in 9 days]" {
		t.Error(got)
	}
}

func TestStateFirstThenEvents(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	w.hear(root+"/metrics/cpu", `{"cpu_usage": 12.5, "timestamp": 1}`)
	w.hear(root+"/metrics/network", `{"active_tcp_connections": 7, "syn_packet_count": 900, "timestamp": 2, "interval_seconds": 2,
		"rates": {"syn": {"pps": 180}, "udp": {"pps": 7}}, "verdicts": {"syn": {"passed": 90, "would_drop": 10, "dropped": 200, "challenged": 60}}, "seconds": [{"timestamp": 1.5, "offered": 9}]}`)
	w.hear("public/x", "hello")
	b := w.open(t)
	if h := b.next("hello"); h["root"] != root || h["version"] != "test" {
		t.Errorf("%v", h)
	}
	c := b.next("conditions")["servers"].([]any)[0].(map[string]any)
	if c["condition"] != "attack" || c["cpu"] != 12.5 || c["syns"] != 900.0 {
		t.Errorf("%v", c)
	}
	x := b.next("snapshot")
	syn := x["series"].(map[string]any)["network"].(map[string]any)["classes"].(map[string]any)["syn"].(map[string]any)
	if got := string(encode(syn)); got != `{"challenged":[30],"dropped":[100],"offered":[180],"passed":[50]}` {
		t.Errorf("%s", got)
	}
	udp := x["series"].(map[string]any)["network"].(map[string]any)["classes"].(map[string]any)["udp"].(map[string]any)
	if got := string(encode(udp)); got != `{"challenged":[null],"dropped":[null],"offered":[7],"passed":[null]}` {
		t.Errorf("without verdicts: %s", got)
	}
	rows := x["rows"].(map[string]any)
	for tab, n := range map[string]int{"cpu": 1, "ram": 0, "network": 1, "public": 1} {
		if len(rows[tab].([]any)) != n {
			t.Errorf("%s: %v", tab, rows[tab])
		}
	}
	w.hear(root+"/alerts", `{"alert": "SYN packet count exceeded threshold", "metric": "syn_packet_count", "state": "raised"}`)
	e := b.next("event")["event"].(map[string]any)
	if e["tab"] != "alerts" || e["alert"].(map[string]any)["state"] != "raised" {
		t.Errorf("%v", e)
	}
}

func TestHostilePayloadsCountForNothing(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	b := w.open(t)
	b.next("snapshot")
	for _, row := range []struct{ topic, payload, text string }{
		{"/metrics/cpu", `{"cpu_usage": 1e308}`, `{"cpu_usage": 1e308}`},
		{"/metrics/cpu", `{"cpu_usage": 1e999}`, `{"cpu_usage": 1e999}`},
		{"/metrics/ram", `{}`, `{}`},
		{"/metrics/network", `{"active_tcp_connections": -5, "syn_packet_count": 1}`, `{"active_tcp_connections": -5, "syn_packet_count": 1}`},
		{"/metrics/network", "\xff\xfe<script>", `\xff\xfe<script>`},
		{"/alerts", "\u202egnp.exe\x1b[2J", `\u202egnp.exe\u001b[2J`},
		{"/status/rate_limiting", `{"command": "x", "status": "<img src=x>"}`, `{"command": "x", "status": "<img src=x>"}`},
	} {
		w.hear(root+row.topic, row.payload)
		e := b.next("event")["event"].(map[string]any)
		if e["text"] != row.text || e["note"] == nil || e["cpu"] != nil || e["ram"] != nil || e["network"] != nil || e["alert"] != nil || e["status"] != nil {
			t.Errorf("%s %q: %v", row.topic, row.payload, e)
		}
	}
	w.receive(bus.Message{Topic: root + "/metrics/cpu", Payload: []byte(`{"cpu_usage": 5}`), Refused: errors.New("it is an old message again")})
	if e := b.next("event")["event"].(map[string]any); e["note"] != "it is an old message again" || e["cpu"] != nil {
		t.Errorf("%v", e)
	}
	w.receive(bus.Message{Topic: root + "/metrics/cpu", Oversize: 1 << 20})
	if e := b.next("event")["event"].(map[string]any); e["note"] != "too long" || !strings.Contains(e["text"].(string), "left out: 1048576 bytes") {
		t.Errorf("%v", e)
	}
	if c := w.conditions(time.Now()).Servers[0]; c.Condition != Waiting {
		t.Errorf("%+v", c)
	}
}

func TestConditions(t *testing.T) {
	network := func(more string) string {
		return `{"active_tcp_connections": 5, "syn_packet_count": 5` + more + `}`
	}
	w := newWeb(t, &fakeBus{}, nil)
	for _, row := range []struct {
		topic, payload string
		want           Condition
	}{
		{"/status/sensor", `{"state": "online"}`, Waiting},
		{"/metrics/network", network(""), Calm},
		{"/metrics/cpu", `{"cpu_usage": 81}`, Strained},
		{"/metrics/cpu", `{"cpu_usage": 8}`, Calm},
		{"/metrics/network", `{"active_tcp_connections": 401, "syn_packet_count": 5}`, UnderAttack},
		{"/metrics/network", `{"active_tcp_connections": 5, "syn_packet_count": 701}`, UnderAttack},
		{"/metrics/network", network(`, "mode": "enforce"`), Limiting},
		{"/metrics/network", network(`, "mode": "enforce", "challenging": true`), Challenging},
		{"/metrics/network", network(`, "mode": "enforce", "challenging": true, "beyond_host": true`), BeyondHost},
		{"/metrics/network", network(`, "mode": "observe"`), Calm},
		{"/alerts", `{"alert": "x", "metric": "syn_packet_count", "state": "raised"}`, UnderAttack},
		{"/alerts", `{"alert": "x", "metric": "syn_packet_count", "state": "cleared"}`, Calm},
		{"/status/sensor", `{"state": "offline"}`, Silent},
		{"/status/sensor", `{"state": "online"}`, Calm},
	} {
		w.hear(root+row.topic, row.payload)
		if got := w.conditions(time.Now()).Servers[0].Condition; got != row.want {
			t.Errorf("%s %s: %s, want %s", row.topic, row.payload, got, row.want)
		}
	}
	if got := w.conditions(time.Now().Add(13 * time.Second)).Servers[0].Condition; got != Silent {
		t.Errorf("13 s later: %s", got)
	}
}

// A page that doesn't read is no burden, and is shown the whole state once it does.
func TestSlowPagesLoseEventsNotMemory(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	v := &viewer{wake: make(chan struct{}, 1)}
	w.hub.add(v)
	v.show(root)
	if x := v.take(); !x.anew {
		t.Fatal("no state first")
	}
	v.caughtUp(root)
	for range 10 * maxQueue {
		w.hear(root+"/metrics/cpu", `{"cpu_usage": 1}`)
	}
	if len(v.queue) > maxQueue {
		t.Errorf("%d events wait", len(v.queue))
	}
	if x := v.take(); !x.anew || len(x.events) != 0 {
		t.Errorf("%d events, anew %v", len(x.events), x.anew)
	}
	v.caughtUp(root)
	w.hear("bank/other/metrics/cpu", `{"cpu_usage": 1}`)
	w.hear("public/x", "for all")
	if x := v.take(); len(x.events) != 1 || !bytes.Contains(x.events[0], []byte("for all")) {
		t.Errorf("%q", x.events)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	for i := range 5000 {
		w.hear("bank/x"+strings.Repeat("y", i%300)+"/metrics/cpu", `{"cpu_usage": 1}`)
		w.hear(root+"/alerts", `{"alert": "`+strings.Repeat("z", i%100)+`", "metric": "`+strings.Repeat("m", i%200)+`", "state": "raised"}`)
	}
	long := `{"active_tcp_connections": 1, "syn_packet_count": 1, "x": "` + strings.Repeat("x", 5_000) + `"}`
	for range 1200 {
		w.hear(root+"/metrics/network", long)
	}
	s := w.servers[root]
	if len(w.servers) > maxServers || len(s.alerts) > maxMetrics || len(s.rows[tabAlerts].all) > maxRows || s.rows[tabNetwork].bytes > maxText {
		t.Errorf("%d servers, %d alerts, %d rows, %d bytes", len(w.servers), len(s.alerts), len(s.rows[tabAlerts].all), s.rows[tabNetwork].bytes)
	}
}

func TestCommands(t *testing.T) {
	b := &fakeBus{}
	w := newWeb(t, b, nil)
	post := func(body string, header ...string) (int, string) {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8080/api/command", strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		w.handler().ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	code, said := post(`{"root": "<103795587>/bank_server", "command": "enable_rate_limiting"}`)
	if code != http.StatusAccepted || len(b.published) != 1 {
		t.Fatalf("%d %s", code, said)
	}
	p := b.published[0]
	c, err := wire.DecodeCommand(p.Payload)
	if err != nil || p.Topic != root+"/control/command" || p.Retain || p.Delivery != bus.Confirmed || c.Command != wire.EnableRateLimiting || c.Origin != "web" ||
		!strings.Contains(said, c.ID) || c.ID == "" {
		t.Errorf("%s %s, %v, answer %s", p.Topic, p.Payload, err, said)
	}
	for body, want := range map[string]int{
		``: http.StatusBadRequest, `[]`: http.StatusBadRequest, `{"root": "x", "command": "enable_rate_limiting"}`: http.StatusNotFound,
		`{"root": "<103795587>/bank_server"}`:                                                                      http.StatusBadRequest,
		`{"root": "<103795587>/bank_server", "command": "block_source"}`:                                           http.StatusBadRequest,
		`{"root": "<103795587>/bank_server", "command": "block_source", "source": "all"}`:                          http.StatusBadRequest,
		`{"root": "<103795587>/bank_server", "command": "enable_rate_limiting", "shell": "rm"}`:                    http.StatusBadRequest,
		`{"root": "<103795587>/bank_server", "command": "enable_rate_limiting"} {}`:                                http.StatusBadRequest,
		`{"root": "<103795587>/bank_server", "command": "x", "reason": "` + strings.Repeat("x", maxRequest) + `"}`: http.StatusBadRequest,
	} {
		if code, said := post(body); code != want || !strings.Contains(said, `{"error":"`) {
			t.Errorf("%.80s: %d %s", body, code, said)
		}
	}
	if code, _ := post(`{"root": "<103795587>/bank_server", "command": "enable_rate_limiting"}`, "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("from another site: %d", code)
	}
	if code, _ := post(`{"root": "<103795587>/bank_server", "command": "enable_rate_limiting"}`, "Origin", "http://evil.example"); code != http.StatusForbidden {
		t.Errorf("from another origin: %d", code)
	}
	if len(b.published) != 1 {
		t.Errorf("%d commands were published", len(b.published))
	}
	b.err = bus.ErrAway
	if code, said := post(`{"root": "<103795587>/bank_server", "command": "enable_rate_limiting"}`); code != http.StatusServiceUnavailable || !strings.Contains(said, "broker is away") {
		t.Errorf("%d %s", code, said)
	}
	b.err = errors.New("<refused>")
	if code, said := post(`{"root": "<103795587>/bank_server", "command": "enable_rate_limiting"}`); code != http.StatusBadGateway {
		t.Errorf("%d %s", code, said)
	}
}

func TestOnlyThisMachinesNamesAreServed(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	for host, want := range map[string]int{
		"127.0.0.1:8080": http.StatusOK, "localhost:8080": http.StatusOK, "[::1]:8080": http.StatusOK, "127.0.0.1": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "evil.example:8080": http.StatusMisdirectedRequest, "192.0.2.1": http.StatusMisdirectedRequest,
	} {
		r := httptest.NewRequest(http.MethodGet, "http://x/", nil)
		r.Host = host
		rec := httptest.NewRecorder()
		w.handler().ServeHTTP(rec, r)
		if rec.Code != want && !(want == http.StatusOK && rec.Code == http.StatusNotImplemented) { // built without the page
			t.Errorf("%s: %d", host, rec.Code)
		}
		if h := rec.Header(); h.Get("Content-Security-Policy") != policy || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", host, h)
		}
	}
	s := httptest.NewServer(w.handler())
	defer s.Close()
	_, r, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/api/live", &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"http://evil.example"}},
	})
	if err == nil || r.StatusCode != http.StatusForbidden {
		t.Errorf("another site's page: %v", err)
	}
}

func TestConfigRefusals(t *testing.T) {
	for _, row := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Listen = "0.0.0.0:8080" }, "beyond loopback"},
		{func(c *Config) { c.Listen = ":8080" }, "beyond loopback"},
		{func(c *Config) { c.Listen = "[2001:db8::1]:8080" }, "beyond loopback"},
		{func(c *Config) { c.Listen = "8080" }, "address:port"},
		{func(c *Config) { c.TLSCert = "x" }, "belong together"},
		{func(c *Config) { c.Listen, c.Users = "0.0.0.0:8080", true }, "without TLS"},
		{func(c *Config) { c.Listen, c.Users, c.Proxy = "0.0.0.0:8080", true, true }, "web.origin"},
		{func(c *Config) { c.Proxy, c.Origin = true, "https://weir.example" }, "web.users"},
		{func(c *Config) { c.Origin = "http://weir.example" }, "web.origin"},
		{func(c *Config) { c.Origin = "https://weir.example/x" }, "web.origin"},
		{func(c *Config) { c.Watch = []string{"bank"} }, "ORG/SERVER"},
		{func(c *Config) { c.Watch = []string{"a/#"} }, "web.watch"},
		{func(c *Config) { c.Interval = 0 }, "interval"},
	} {
		c := testConfig
		row.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q: %v", row.want, err)
		}
	}
	c := testConfig
	c.Watch, c.Listen = []string{"bank/+", "bank/+/+", "a/b"}, "[::1]:0"
	must(t, c.Validate())
}

func TestHistoryIsRecalledAndAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	log := slog.New(slog.DiscardHandler)
	h, err := history.Open(t.Context(), path, history.Limits{}, log)
	must(t, err)
	w := newWeb(t, &fakeBus{}, h)
	before := time.Now().Add(-time.Second).UnixMilli()
	for range 50 {
		w.hear(root+"/metrics/cpu", `{"cpu_usage": 1}`)
	}
	w.hear(root+"/metrics/cpu", `{"cpu_usage": 99}`)
	w.hear(root+"/metrics/network", `{"active_tcp_connections": 5, "syn_packet_count": 5}`)
	w.hear(root+"/alerts", `{"alert": "=cmd", "metric": "cpu_usage", "state": "raised"}`)
	w.hear("public/x", "=HYPERLINK(1)\n\"quoted\"")
	w.hear("bank/other/metrics/cpu", `{"cpu_usage": 2}`)
	must(t, h.Close())

	h, err = history.Open(t.Context(), path, history.Limits{}, log)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	w = newWeb(t, &fakeBus{}, h)
	w.recall(t.Context(), time.Now())
	x := w.snapshot(time.Now(), root)
	if len(x.Rows[tabCPU]) != 51 || len(x.Rows[tabPublic]) != 1 || len(x.Alerts) != 1 || len(w.servers) != 2 || x.Series.CPU.V[50] != 99 {
		t.Errorf("%d rows, %d servers, %+v", len(x.Rows[tabCPU]), len(w.servers), x.Alerts)
	}
	get := func(path string) (int, string) {
		t.Helper()
		rec := httptest.NewRecorder()
		w.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil))
		b, err := io.ReadAll(rec.Body)
		must(t, err)
		return rec.Code, string(b)
	}
	after := time.Now().Add(time.Second).UnixMilli()
	times := "&from=" + string(encode(before)) + "&to=" + string(encode(after))
	at := "root=%3C103795587%3E/bank_server"
	code, said := get("/api/history?" + at + times)
	var s series
	must(t, json.Unmarshal([]byte(said), &s))
	if code != http.StatusOK || len(s.CPU.V) == 0 || s.CPU.V[len(s.CPU.V)-1] != 99 || len(s.Marks) != 1 {
		t.Errorf("%d %s", code, said)
	}
	if code, said := get("/api/rows?tab=cpu&" + at + "&before=" + string(encode(after))); code != http.StatusOK || strings.Count(said, "cpu_usage") != 51 {
		t.Errorf("%d %s", code, said)
	}
	if code, said := get("/api/download?tab=public&form=csv" + times); code != http.StatusOK || !strings.Contains(said, `,public/x,"'=HYPERLINK(1)\n""quoted"""`) {
		t.Errorf("%d %s", code, said)
	}
	code, said = get("/api/download?tab=public&form=json" + times)
	var rows []struct{ Topic, Payload string }
	if err := json.Unmarshal([]byte(said), &rows); code != http.StatusOK || err != nil || len(rows) != 1 || rows[0].Payload != "=HYPERLINK(1)\n\"quoted\"" {
		t.Errorf("%d %s, %v", code, said, err)
	}
	if code, said := get("/api/download?tab=ram&form=json&" + at + times); code != http.StatusOK || said != "[]\n" {
		t.Errorf("%d %q", code, said)
	}
	for _, bad := range []string{"/api/history?" + at, "/api/history?" + at + "&from=5&to=4", "/api/history?root=x" + times, "/api/rows?tab=x&" + at + "&before=1",
		"/api/rows?" + at + "&before=1", "/api/rows?tab=cpu&" + at + "&before=x", "/api/download?tab=cpu&form=exe&" + at + times, "/api/nothing"} {
		if code, said := get(bad); code < 400 || code > 499 {
			t.Errorf("%s: %d %s", bad, code, said)
		}
	}
}

func TestRetainedStatesAreToldOnce(t *testing.T) {
	w := newWeb(t, &fakeBus{}, nil)
	for range 3 {
		w.receive(bus.Message{Topic: root + "/status/sensor", Payload: []byte(`{"state": "online"}`), Retained: true})
	}
	w.receive(bus.Message{Topic: root + "/status/sensor", Payload: []byte(`{"state": "offline"}`), Retained: true})
	if n := len(w.servers[root].rows[tabStatus].all); n != 2 {
		t.Errorf("%d rows", n)
	}
	w.tick(time.Now())
	if !w.conditions(time.Now()).Broker {
		t.Error("the broker is there")
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(root+"/metrics/cpu", []byte(`{"cpu_usage": 1}`))
	f.Add(root+"/metrics/network", []byte(`{"active_tcp_connections": 1, "syn_packet_count": 2, "interval_seconds": 1e-300,
		"rates": {"x": {"pps": 1e308}}, "verdicts": {"x": {"passed": 9}}, "seconds": [{"timestamp": 1e300}]}`))
	f.Add("a//metrics/cpu", []byte("x"))
	f.Add("public/\x00", []byte("\xff"))
	f.Add(root+"/alerts", []byte(`{"alert": "\u202e"}`))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		w, err := New(testConfig, &fakeBus{}, nil, nil, nil, slog.New(slog.DiscardHandler))
		must(t, err)
		w.receive(bus.Message{Topic: topic, Payload: payload})
		w.receive(bus.Message{Topic: topic, Payload: payload, Retained: true})
		for root := range w.servers {
			if b := encode(w.snapshot(time.Now(), root)); !json.Valid(b) {
				t.Errorf("%s", b)
			}
		}
		encode(w.conditions(time.Now()))
	})
}

func TestPasskeysNeedAName(t *testing.T) {
	for _, c := range []struct {
		listen, origin string
		tls            bool
		host, at       string
	}{
		{"127.0.0.1:8080", "", false, "localhost", "http://localhost:8080"},
		{"127.0.0.1:8443", "", true, "localhost", "https://localhost:8443"},
		{"192.0.2.1:8443", "https://Weir.bank.example:8443", true, "weir.bank.example", "https://Weir.bank.example:8443"},
		{"192.0.2.1:8443", "https://192.0.2.1:8443", true, "", ""},
		{"[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true, "", ""},
	} {
		if host, at := PasskeysFor(c.listen, c.origin, c.tls); host != c.host || at != c.at {
			t.Errorf("%s, %q: %q, %q", c.listen, c.origin, host, at)
		}
	}
}
