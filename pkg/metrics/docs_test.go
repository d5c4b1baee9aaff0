package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const docs = "../../docs"

func TestRules(t *testing.T) {
	te.Tool(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = filepath.Join(docs, "prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}

// Rules and dashboard ask for what there is: a name or label that was changed here and not there would be an alert that never fires.
func TestNothingAsksForWhatIsNotExported(t *testing.T) {
	x := exported(t)
	for where, exprs := range map[string][]string{"rules": ruleExpressions(t), "dashboard": panelExpressions(t)} {
		if len(exprs) < 15 {
			t.Errorf("%s: only %d expressions found", where, len(exprs))
		}
		for _, expr := range exprs {
			for _, wrong := range x.misses(expr) {
				t.Errorf("%s: %s: %s", where, expr, wrong)
			}
		}
	}
}

// The check itself finds what is wrong.
func TestMisses(t *testing.T) {
	x := exported(t)
	for expr, want := range map[string]int{
		`weir_packets_total{class="syn", instance="a"}`:       0,
		`sum by (reason, job) (rate(weir_packets_total[1m]))`: 0,
		`weir_packet_total`:                                           1,
		`weir_packets_total{colour="red"}`:                            1,
		`weir_packets_total{class="sin"}`:                             1,
		`weir_packets_total{verdict=~"drop|tx"}`:                      0,
		`weir_packets_total{verdict=~"drop|toss"}`:                    1,
		`sum by (colour) (weir_lease_seconds)`:                        1,
		`weir_lease_seconds{class="syn"} and on (instance) weir_mode`: 1,
		`weir_alert_raised and on (server) weir_mode`:                 0,
		`weir_alert_raised and on (server) weir_web_servers`:          1,
		`weir_mode{server=~"$server"}`:                                0,
		`weir_mode{server=~"$instance"}`:                              1,
		`process_resident_memory_bytes{job="weir"}`:                   0,
		`process_resident_memories{job="weir"}`:                       1,
	} {
		if got := x.misses(expr); len(got) != want {
			t.Errorf("%s: %q", expr, got)
		}
	}
}

// series are label values by label by name.
type series map[string]map[string][]string

var (
	line    = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? [^ ]+$`)
	matcher = regexp.MustCompile(`([a-zA-Z_]+)(=~|!~|!=|=)"([^"]*)"`)
	wanted  = regexp.MustCompile(`\b((?:weir|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	grouped = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
)

// scraped labels are Prometheus's own.
var scraped = []string{"instance", "job"}

func exported(t *testing.T) series {
	_, text := get(t, full(), Config{}, "/metrics")
	x := series{"up": {}}
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		if x[m[1]] == nil {
			x[m[1]] = map[string][]string{}
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			x[m[1]][l[1]] = append(x[m[1]][l[1]], l[3])
		}
	}
	return x
}

func (x series) misses(expr string) (wrong []string) {
	var names []string
	for _, m := range wanted.FindAllStringSubmatch(expr, -1) {
		name := m[1]
		if x[name] == nil {
			wrong = append(wrong, "there is no "+name)
			continue
		}
		names = append(names, name)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if slices.Contains(scraped, l[1]) {
				continue
			}
			if x[name][l[1]] == nil {
				wrong = append(wrong, name+" has no label "+l[1])
				continue
			}
			for value := range strings.SplitSeq(l[3], "|") {
				if !slices.Contains(x[name][l[1]], value) && value != "$"+l[1] { // the dashboard's own variable
					wrong = append(wrong, name+" never has "+l[1]+"="+value)
				}
			}
		}
	}
	for _, g := range grouped.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			label = strings.TrimSpace(label)
			for _, name := range names { // what is joined or summed by needs it on either side
				if x[name][label] == nil && !slices.Contains(scraped, label) {
					wrong = append(wrong, name+" has no label "+label)
				}
			}
		}
	}
	return wrong
}

func ruleExpressions(t *testing.T) (all []string) {
	text, err := os.ReadFile(filepath.Join(docs, "prometheus", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Expr        string            `yaml:"expr"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			all = append(all, r.Expr)
		}
	}
	return all
}

func panelExpressions(t *testing.T) (all []string) {
	text, err := os.ReadFile(filepath.Join(docs, "grafana", "weir.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct{ List []struct{ Query string } }
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, v := range board.Templating.List {
		if strings.Contains(v.Query, "weir_") {
			all = append(all, v.Query)
		}
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}
