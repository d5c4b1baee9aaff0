package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const metricsAddr = "127.0.0.1:9732"

// get asks a server in the bank.
func (s *site) get(url string) string {
	s.t.Helper()
	out, err := s.Bank.Command(s.t.Context(), "curl", "-s", "-m", "5", url).Output()
	if err != nil {
		return "" // it will be asked again
	}
	return string(out)
}

// write makes a file of the test's.
func (s *site) write(name, text string, mode os.FileMode) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	must(s.t, os.WriteFile(file, []byte(text), mode))
	return file
}

// prometheus scrapes weir in the bank each second, and judges by weir's own rules.
func (s *site) prometheus() *te.Process {
	s.t.Helper()
	rules, err := filepath.Abs("../../docs/prometheus/rules.yml")
	must(s.t, err)
	config := s.write("prometheus.yml", `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["`+rules+`"]
scrape_configs:
  - job_name: weir
    static_configs: [{targets: ["`+metricsAddr+`"]}]
`, 0o600)
	p := s.Bank.Start(s.t, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(s.dir, "tsdb"), "--web.listen-address=127.0.0.1:9090")
	p.Await(s.t, "Server is ready to receive web requests", patience)
	return p
}

// query gives the first value of an expression, and false if there is none.
func (s *site) query(expr string) (float64, bool) {
	s.t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	text := s.get("http://127.0.0.1:9090/api/v1/query?query=" + url.QueryEscape(expr))
	if json.Unmarshal([]byte(text), &answer) != nil || len(answer.Data.Result) == 0 {
		return 0, false
	}
	value, _ := answer.Data.Result[0].Value[1].(string)
	x, err := strconv.ParseFloat(value, 64)
	return x, err == nil
}

func (s *site) awaitQuery(expr string, is func(float64) bool) {
	s.t.Helper()
	te.Eventually(s.t, 2*patience, expr, func() bool {
		x, ok := s.query(expr)
		return ok && is(x)
	})
}

// TestPrometheusSeesAFlood: Debian's Prometheus scrapes weir up, and weir's rules fire when the flood comes and no longer when it is over.
func TestPrometheusSeesAFlood(t *testing.T) {
	te.Tool(t, "prometheus", "curl")
	s := newSite(t)
	s.serve()
	s.start("up", "--metrics-listen", metricsAddr, "--monitor-calm", "2s")
	if text := s.get("http://" + metricsAddr + "/readyz"); text != "broker: ready\ncontroller: ready\nmonitor: ready\nsensor: ready\nweb: ready\n" {
		t.Errorf("ready? %s", text)
	}
	s.prometheus()
	firing := func(name string) string { return `ALERTS{alertname="` + name + `", alertstate="firing"}` }
	s.awaitQuery(`up{job="weir"}`, func(x float64) bool { return x == 1 })
	s.awaitQuery(`weir_mode{mode="observe"}`, func(x float64) bool { return x == 1 })
	if _, ok := s.query(firing("WeirSYNFlood")); ok {
		t.Error("an alert on a calm day")
	}
	f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 3000})
	s.awaitQuery(firing("WeirSYNFlood"), func(x float64) bool { return x == 1 })
	s.awaitQuery(`weir_mode{mode="enforce"}`, func(x float64) bool { return x == 1 })
	s.awaitQuery(`weir_lease_seconds`, func(x float64) bool { return x > 0 })
	s.awaitQuery(`rate(weir_packets_total{class="syn", verdict="drop", reason="source_rate"}[5s])`, func(x float64) bool { return x > 500 })
	s.awaitQuery(`weir_commands_total{command="enable_rate_limiting", status="success"}`, func(x float64) bool { return x >= 1 })
	f.Stop()
	te.Eventually(t, 3*patience, "end of the alert", func() bool {
		_, raised := s.query(firing("WeirSYNFlood"))
		return !raised
	})
	s.awaitQuery(`weir_mode{mode="observe"}`, func(x float64) bool { return x == 1 })
}

// TestReadyMeansWork: each component alone tells whether it does its job.
func TestReadyMeansWork(t *testing.T) {
	te.Tool(t, "curl")
	s := newSite(t)
	b := s.start("broker", "--metrics-listen", "127.0.0.1:9701")
	s.start("sensor", "--metrics-listen", "127.0.0.1:9702")
	s.start("controller", "--metrics-listen", "127.0.0.1:9703")
	s.start("monitor", "--metrics-listen", "127.0.0.1:9704")
	s.start("web", "--metrics-listen", "127.0.0.1:9705", "--web-history", s.history())
	says := func(port, text string) {
		t.Helper()
		te.Eventually(t, patience, text+" on port "+port, func() bool { return strings.Contains(s.get("http://127.0.0.1:"+port+"/readyz"), text) })
	}
	for port, name := range map[string]string{"9701": "broker", "9702": "sensor", "9703": "controller", "9704": "monitor", "9705": "web"} {
		says(port, name+": ready\n")
		if text := s.get("http://127.0.0.1:" + port + "/metrics"); !strings.Contains(text, "weir_build_info{") {
			t.Errorf("%s exports nothing: %s", name, text)
		} else if joined, ok := map[string]string{"sensor": "weir_mode", "controller": "weir_controller_limiting", "monitor": "weir_alert_raised"}[name]; ok {
			if !regexp.MustCompile(joined + `{.*server="<103795587>/bank_server"`).MatchString(text) {
				t.Errorf("%s doesn't say of which server it tells: rules can't join it to others", name)
			}
		}
	}
	b.Kill()
	for _, port := range []string{"9702", "9703", "9704", "9705"} {
		says(port, "not ready: it isn't connected to the broker")
	}
	s.mustWeir("unload")
	says("9703", "no datapath is attached")
	if text := s.get("http://127.0.0.1:9703/healthz"); text != "ok\n" {
		t.Errorf("a controller without a datapath isn't alive: %s", text)
	}
}
