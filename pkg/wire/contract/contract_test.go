package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

func load(t *testing.T) *Document {
	t.Helper()
	d, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTypesAreDocumented holds each member of weir's types against the document, and the other way round.
func TestTypesAreDocumented(t *testing.T) {
	d := load(t)
	for name, v := range map[string]any{
		"CPU": wire.CPU{}, "RAM": wire.RAM{}, "Network": wire.Network{}, "Rate": wire.Rate{}, "Verdicts": wire.Verdicts{},
		"Second": wire.Second{}, "Source": wire.Source{}, "TCPHealth": wire.TCPHealth{}, "Alert": wire.Alert{},
		"Command": wire.Command{}, "Status": wire.Status{}, "Presence": wire.Presence{},
	} {
		schema := d.at("components", "schemas", name)
		properties := d.at("components", "schemas", name, "properties")
		required, _ := schema["required"].([]any)
		known := map[string]bool{}
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
			member, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if member == "-" {
				continue
			}
			known[member] = true
			if properties[member] == nil {
				t.Errorf("%s.%s isn't documented", name, member)
				continue
			}
			if always := !strings.Contains(options, "omitempty"); always != slices.Contains(required, any(member)) {
				t.Errorf("%s.%s: always sent: %v; the document says otherwise", name, member, always)
			}
			if want, got := jsonType(field.Type), d.typeOf(properties[member]); got != want {
				t.Errorf("%s.%s is documented as %s, and is %s", name, member, got, want)
			}
		}
		for member := range properties {
			if !known[member] {
				t.Errorf("%s.%s is documented, but there is no such member", name, member)
			}
		}
	}
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array"
	case reflect.Map, reflect.Struct, reflect.Pointer:
		return "object"
	}
	return "integer"
}

// typeOf follows references, also those within allOf.
func (d *Document) typeOf(v any) string {
	schema, _ := v.(map[string]any)
	if all, ok := schema["allOf"].([]any); ok {
		return d.typeOf(all[0])
	}
	if to, ok := schema["$ref"].(string); ok {
		return d.typeOf(d.at("components", "schemas")[strings.TrimPrefix(to, "#/components/schemas/")])
	}
	kind, _ := schema["type"].(string)
	return kind
}

// TestNamesAreDocumented holds enumerations against weir's own.
func TestNamesAreDocumented(t *testing.T) {
	d := load(t)
	var classes, reasons []string
	for c := range datapath.NumClasses {
		classes = append(classes, c.String())
	}
	for r := range datapath.NumReasons {
		if r != datapath.ReasonNone {
			reasons = append(reasons, r.String())
		}
	}
	for _, row := range []struct {
		path []string
		want []string
	}{
		{[]string{"Command", "properties", "command"}, append(slices.Clone(wire.Commands), wire.TestAlert)},
		{[]string{"Alert", "properties", "state"}, []string{wire.AlertRaised, wire.AlertReminder, wire.AlertCleared}},
		{[]string{"Network", "properties", "mode"}, []string{wire.ModeObserve, wire.ModeEnforce}},
		{[]string{"Status", "properties", "status"}, []string{wire.Success, wire.Failure}},
		{[]string{"Status", "properties", "state"}, []string{wire.StateOn, wire.StateOff}},
		{[]string{"Presence", "properties", "state"}, []string{wire.Online, wire.Offline}},
		{[]string{"transport"}, []string{wire.Plaintext}},
		{[]string{"class"}, classes},
		{[]string{"byReason", "propertyNames"}, reasons},
	} {
		var got []string
		names, _ := d.at(append([]string{"components", "schemas"}, row.path...)...)["enum"].([]any)
		for _, name := range names {
			got = append(got, name.(string))
		}
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(row.want)); !slices.Equal(got, want) {
			t.Errorf("%s: documented are %q, there are %q", strings.Join(row.path, "."), got, want)
		}
	}
}

// TestTopicsAreDocumented holds the topics against the document, and the other way round.
func TestTopicsAreDocumented(t *testing.T) {
	d := load(t)
	r := wire.Root{Org: "bank", Site: "north", Server: "web1"}
	seen := map[string]bool{}
	for _, topic := range []string{
		r.MetricsCPU(), r.MetricsRAM(), r.MetricsNetwork(), r.Alerts(), r.Command(), r.StatusRateLimiting(), r.StatusScaling(), r.StatusSensor(), r.StatusNotification(),
		"public/announcement",
	} {
		name := d.Channel(r, topic)
		if name == "" {
			t.Errorf("%s isn't documented", topic)
		}
		seen[name] = true
	}
	for _, name := range d.Channels() {
		if !seen[name] {
			t.Errorf("channel %s is documented, but there is no such topic", name)
		}
	}
}

// TestGoldenFilesAreAsDocumented: those are what pkg/wire writes, byte for byte.
func TestGoldenFilesAreAsDocumented(t *testing.T) {
	d := load(t)
	r := wire.DefaultRoot
	files, err := filepath.Glob("../testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "_")
		topic := map[string]string{
			"cpu": r.MetricsCPU(), "ram": r.MetricsRAM(), "network": r.MetricsNetwork(), "alert": r.Alerts(), "command": r.Command(),
			"status": r.StatusRateLimiting(), "presence": r.StatusSensor(),
		}[kind]
		if err := d.Check(r, topic, text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestExamplesAreAsDocumented: weir's own decoders take the document's examples, and its schemas do.
func TestExamplesAreAsDocumented(t *testing.T) {
	d := load(t)
	n := 0
	for channel, address := range d.address {
		topic := strings.Replace(address, "{root}", wire.DefaultRoot.String(), 1)
		for message := range d.at("channels", channel, "messages") {
			examples, _ := d.at("components", "messages", message)["examples"].([]any)
			if len(examples) == 0 {
				t.Errorf("%s has no example", message)
			}
			for _, example := range examples {
				payload, err := wire.Encode(example.(map[string]any)["payload"])
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Check(wire.DefaultRoot, topic, payload); err != nil {
					t.Error(err)
				}
				if message == "command" {
					if _, err := wire.DecodeCommand(payload); err != nil {
						t.Errorf("%s: %v", payload, err)
					}
				}
				n++
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d examples were tried", n)
	}
}

// TestWhatIsNotDocumentedIsFound: the checks here can fail.
func TestWhatIsNotDocumentedIsFound(t *testing.T) {
	d := load(t)
	r := wire.DefaultRoot
	for _, row := range []struct{ topic, payload, why string }{
		{r.MetricsCPU(), `{"cpu_usage": 101, "timestamp": 1}`, "maximum"},
		{r.MetricsCPU(), `{"cpu_usage": 1}`, "timestamp"},
		{r.MetricsCPU(), `{"cpu_usage": 1, "timestamp": 1, "load": 2}`, "load"},
		{r.MetricsCPU(), `{"cpu_usage": 1, "timestamp": 1, "kid": "sensor-1"}`, "sig"},
		{r.MetricsNetwork(), `{"active_tcp_connections": 1, "syn_packet_count": 2, "timestamp": 1, "drops": {"whim": 3}}`, "whim"},
		{r.MetricsNetwork(), `{"active_tcp_connections": 1, "syn_packet_count": 2, "timestamp": 1, "top_sources": [{"source": "192.0.2.1", "syn_per_second": 1, "limited": false, "who": "x"}]}`, "who"},
		{r.Alerts(), `{"timestamp": 1, "alert": "x", "state": "loud", "metric": "cpu_usage", "value": 1, "threshold": 1, "cause": "spike"}`, "state"},
		{r.Command(), `{"command": "reboot"}`, "command"},
		{r.String() + "/status/other", `{}`, "no documented topic"},
	} {
		if err := d.Check(r, row.topic, []byte(row.payload)); err == nil || !strings.Contains(err.Error(), row.why) {
			t.Errorf("%s: %s: %v", row.topic, row.payload, err)
		}
	}
}

// TestDocumentIsAsyncAPI asks AsyncAPI's own parser.
func TestDocumentIsAsyncAPI(t *testing.T) {
	te.Tool(t, "node", "npm")
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "check.mjs"} {
		text, err := os.ReadFile(filepath.Join("asyncapi", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"); err != nil {
		t.Fatalf("npm ci: %v: %s", err, out)
	}
	if out, err := run("node", "check.mjs", Path()); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("asyncapi: 3.0.0\ninfo: {title: x}\nchannels: {a: {adress: b}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := run("node", "check.mjs", broken); err == nil || !strings.Contains(out, "adress") {
		t.Errorf("a broken document passes: %v: %s", err, out)
	}
}
