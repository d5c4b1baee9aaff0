package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/bus/broker"
	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/history"
	"github.com/weir-sensor/weir/pkg/monitor"
	"github.com/weir-sensor/weir/pkg/notify"
	"github.com/weir-sensor/weir/pkg/sensor"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/web"
	"github.com/weir-sensor/weir/pkg/wire"
)

// full is an exporter of all components.
func full() *Exporter {
	e := New("1.2.3", "<1>/bank")
	e.Sensor(func(context.Context) (s sensor.Stats, err error) {
		s.Counters[datapath.ClassSYN][datapath.VerdictDrop][datapath.ReasonSourceRate] = datapath.Count{Packets: 42, Bytes: 3108}
		s.Control = datapath.Control{Enforce: true, Lease: 90 * time.Second, Limit: datapath.DefaultLimit}
		s.CPU = 12.5
		return s, nil
	}, "xdp-native", []string{"xdp-native", "xdp-generic", "tc-bpf", "tc-police", "none"}, map[string]string{"eth0": "xdp-native"})
	e.Controller(func(context.Context) (controller.Stats, error) {
		return controller.Stats{On: true, Until: time.Unix(1, 0), Commands: map[controller.Result]uint64{{Command: controller.Unknown, Status: wire.Failure}: 7}}, nil
	})
	e.Monitor(func() monitor.Stats {
		s := monitor.Stats{}
		for _, m := range []string{"cpu_usage", "ram_usage", "syn_packet_count", "active_tcp_connections", "refused_commands"} {
			s.Alerts = append(s.Alerts, monitor.AlertStats{Metric: m})
		}
		return s
	})
	e.Notifiers(func() []notify.Stats { return []notify.Stats{{Name: "syslog /dev/log"}, {Name: "webhook a"}} })
	e.Broker(func() broker.Stats { return broker.Stats{} })
	e.Web(func() web.Stats { return web.Stats{} })
	e.History(func() (history.Stats, error) { return history.Stats{}, nil })
	for _, c := range []string{"sensor", "monitor", "controller", "web"} {
		e.Bus(c, func() bus.Stats { return bus.Stats{Connected: true} })
		e.Certificate(c, func() (time.Time, error) { return time.Unix(1729697327, 0), nil })
	}
	return e
}

// get asks an exporter for a page.
func get(t testing.TB, e *Exporter, cfg Config, path string, header ...string) (int, string) {
	t.Helper()
	h, err := e.handler(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if header != nil {
		r.Header.Set(header[0], header[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func TestPromtoolFindsNothing(t *testing.T) {
	te.Tool(t, "promtool")
	status, text := get(t, full(), Config{}, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status, text)
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	for _, want := range []string{
		`weir_packets_total{class="syn",reason="source_rate",server="<1>/bank",verdict="drop"} 42`,
		`weir_packets_total{class="udp",reason="none",server="<1>/bank",verdict="pass"} 0`,
		`weir_packet_bytes_total{class="syn",server="<1>/bank",verdict="drop"} 3108`,
		`weir_mode{mode="enforce",server="<1>/bank"} 1`, `weir_mode{mode="observe",server="<1>/bank"} 0`, `weir_lease_seconds{server="<1>/bank"} 90`, `weir_cpu_usage_ratio{server="<1>/bank"} 0.125`,
		`weir_attach_tier{server="<1>/bank",tier="xdp-native"} 1`, `weir_attach_tier{server="<1>/bank",tier="none"} 0`,
		`weir_commands_total{command="unknown",server="<1>/bank",status="failure"} 7`, `weir_commands_total{command="block_source",server="<1>/bank",status="success"} 0`,
		`weir_mqtt_connected{component="monitor"} 1`, `weir_certificate_expiry_timestamp_seconds{component="web"} 1.729697327e+09`,
		`version="1.2.3"} 1`, "process_resident_memory_bytes ", "go_goroutines ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if len(text) > 100_000 {
		t.Errorf("a scrape has %d bytes", len(text))
	}
}

// Every family there is has series, so that what rules and the dashboard ask for is what a whole weir exports.
func TestEveryFamilyIsExported(t *testing.T) {
	_, text := get(t, full(), Config{}, "/metrics")
	for _, f := range families {
		name, _, _ := strings.Cut(strings.TrimPrefix(f.desc.String(), `Desc{fqName: "`), `"`)
		if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is never there", name)
		}
	}
}

// A component that hangs or can't read what it knows costs its own series and nothing else.
func TestSourceThatFails(t *testing.T) {
	e := full()
	e.Sensor(func(context.Context) (sensor.Stats, error) { return sensor.Stats{}, errors.New("detached") }, "none", []string{"none"}, nil)
	_, text := get(t, e, Config{}, "/metrics")
	if !strings.Contains(text, `weir_source_up{source="sensor"} 0`) || !strings.Contains(text, `weir_source_up{source="monitor"} 1`) {
		t.Error("it isn't told which source is up")
	}
	if strings.Contains(text, "weir_packets_total") || !strings.Contains(text, "weir_alert_raised") {
		t.Error("other series than its own are missing")
	}
}

func TestSourceThatHangs(t *testing.T) {
	e := full()
	end := make(chan struct{})
	defer close(end)
	e.Monitor(func() monitor.Stats { <-end; return monitor.Stats{} })
	if _, text := get(t, e, Config{}, "/metrics"); !strings.Contains(text, `weir_source_up{source="monitor"} 0`) || strings.Contains(text, `_up{source="controller"} 0`) {
		t.Error("it isn't told which source hangs")
	}
	e.Ready("broker", func(context.Context) error { <-end; return nil })
	e.Ready("sensor", func(ctx context.Context) error { return ctx.Err() })
	if status, text := get(t, e, Config{}, "/readyz"); status != http.StatusServiceUnavailable || text != "broker: not ready: it doesn't answer\nsensor: ready\n" {
		t.Error(status, text)
	}
}

func TestReady(t *testing.T) {
	e := New("", "")
	e.Expect("sensor")
	e.Ready("broker", nil)
	status, text := get(t, e, Config{}, "/readyz")
	if status != http.StatusServiceUnavailable || text != "broker: ready\nsensor: not ready: it is starting\n" {
		t.Error(status, text)
	}
	e.Ready("sensor", func(context.Context) error { return errors.Join(errors.New("a"), errors.New("b")) })
	if status, text := get(t, e, Config{}, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "sensor: not ready: a; b\n") {
		t.Error(status, text)
	}
	e.Ready("sensor", func(context.Context) error { return nil })
	if status, text := get(t, e, Config{}, "/readyz"); status != http.StatusOK || text != "broker: ready\nsensor: ready\n" {
		t.Error(status, text)
	}
	if status, text := get(t, e, Config{}, "/healthz"); status != http.StatusOK || text != "ok\n" {
		t.Error(status, text)
	}
}

func TestToken(t *testing.T) {
	cfg := Config{Token: "s3cret"}
	for shown, want := range map[string]int{"": 401, "s3cret": 401, "Bearer s3cre": 401, "Bearer s3cret": 200, "Basic s3cret": 401} {
		if got, _ := get(t, full(), cfg, "/metrics", "Authorization", shown); got != want {
			t.Errorf("%q: %d, want %d", shown, got, want)
		}
	}
	if status, _ := get(t, New("", ""), cfg, "/healthz"); status != http.StatusOK {
		t.Error("a probe needs a token")
	}
	for _, path := range []string{"/debug/pprof/", "/", "/metrics/x"} {
		if status, _ := get(t, full(), Config{}, path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, ""},
		{Config{Listen: "192.0.2.1:9732", Pprof: "127.0.0.1:6060"}, ""},
		{Config{Pprof: "[::1]:6060"}, ""},
		{Config{Listen: "9732"}, "metrics.listen"},
		{Config{Pprof: ":6060"}, "metrics.pprof"},
		{Config{Pprof: "192.0.2.1:6060"}, "beyond loopback"},
		{Config{TLSCert: "x"}, "metrics.tls-key"},
	} {
		if err := c.cfg.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
}

// BenchmarkScrape is what a scrape costs beside the sensor's own work.
func BenchmarkScrape(b *testing.B) {
	e := full()
	h, err := e.handler(Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		size = w.Body.Len()
	}
	b.ReportMetric(float64(size)/1000, "kB")
}
