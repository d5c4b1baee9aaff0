// Package metrics exports what components know for Prometheus, and tells whether they do their job. It alone imports client_golang.
// What is exported is read when it is asked for, from snapshots that components hand over: the number of series is fixed, whatever
// comes from outside.
package metrics

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Exporter is one process's. Its components may be added at any time.
type Exporter struct {
	version string
	server  string // the root of its topics, which tells one server's series from another's

	mu      sync.Mutex
	sources map[string]source // by what they tell of
	ready   map[string]func(context.Context) error
}

// source sends what it knows. An error leaves out what it can't tell of now.
type source func(context.Context, send) error

// send takes a value of a family, with the values of its labels.
type send func(f *family, value float64, labels ...string)

// patience is how long a component may take to answer. They need microseconds.
const patience = time.Second

// New returns an exporter for a weir of some version whose sensor, monitor and controller are those of a server.
func New(version, server string) *Exporter {
	return &Exporter{version: version, server: server, sources: map[string]source{}, ready: map[string]func(context.Context) error{}}
}

// add takes a source, in the place of one of the same name.
func (e *Exporter) add(name string, s source) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sources[name] = s
}

// family is all series of one name.
type family struct {
	desc     *prometheus.Desc
	kind     prometheus.ValueType
	ofServer bool // its last label names the server
}

// families are all that there are.
var families []*family

func newFamily(kind prometheus.ValueType, name, help string, labels []string) *family {
	f := &family{desc: prometheus.NewDesc("weir_"+name, help, labels, nil), kind: kind}
	families = append(families, f)
	return f
}

func gauge(name, help string, labels ...string) *family {
	return newFamily(prometheus.GaugeValue, name, help, labels)
}

func counter(name, help string, labels ...string) *family {
	return newFamily(prometheus.CounterValue, name, help, labels)
}

// serverGauge tells of one server. Its sensor, monitor and controller may be processes of their own, on machines of their own: the
// label server is what rules join their series by.
func serverGauge(name, help string, labels ...string) *family {
	return ofServer(gauge(name, help, append(labels, "server")...))
}

func serverCounter(name, help string, labels ...string) *family {
	return ofServer(counter(name, help, append(labels, "server")...))
}

func ofServer(f *family) *family {
	f.ofServer = true
	return f
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

var (
	buildInfo = gauge("build_info", "Which weir this is; always 1.", "version", "goversion")
	sourceUp  = gauge("source_up", "Whether a source of metrics could be read: 0 means that its series are missing.", "source")
)

// Describe is for Collector.
func (e *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range families {
		ch <- f.desc
	}
}

// Collect is for Collector. It takes no longer than patience: what a source that hangs knows is left out.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e.mu.Lock()
	sources := maps.Clone(e.sources)
	e.mu.Unlock()
	ch <- buildInfo.metric(1, e.version, runtime.Version())
	answers := make(chan answer, len(sources))
	for name, s := range sources { // side by side, so that one that hangs takes no time from others
		go func() {
			a := answer{name: name}
			a.err = s(ctx, func(f *family, value float64, labels ...string) {
				if f.ofServer {
					labels = append(labels, e.server)
				}
				a.metrics = append(a.metrics, f.metric(value, labels...))
			})
			answers <- a
		}()
	}
	for len(sources) > 0 && ctx.Err() == nil {
		select {
		case a := <-answers:
			delete(sources, a.name)
			for _, m := range append(a.metrics, sourceUp.metric(flag(a.err == nil), a.name)) {
				ch <- m
			}
		case <-ctx.Done():
		}
	}
	for name := range sources {
		ch <- sourceUp.metric(0, name)
	}
}

// answer is all that a source has sent.
type answer struct {
	name    string
	metrics []prometheus.Metric
	err     error
}

func (f *family) metric(value float64, labels ...string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return m
}

// registry has weir's own, the process's and Go's.
func (e *Exporter) registry() (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		e, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector(),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return r, nil
}
