package sensor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/wire"
)

// fakeDatapath counts what it is told.
type fakeDatapath struct {
	mu       sync.Mutex
	counters datapath.Counters
	control  datapath.Control
	top      []datapath.SourceRate
	asked    []time.Time // for the top sources
	err      error
}

func (d *fakeDatapath) syns(n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counters[datapath.ClassSYN][datapath.VerdictPass][datapath.ReasonNone].Packets += n
}

func (d *fakeDatapath) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *fakeDatapath) Counters() (datapath.Counters, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counters, d.err
}

func (d *fakeDatapath) Control() (datapath.Control, error) { return d.control, nil }

func (d *fakeDatapath) TopSources(now time.Time, _ int) ([]datapath.SourceRate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, now)
	return d.top, nil
}

// fakeHost is half busy, unless it errs.
type fakeHost struct {
	mu   sync.Mutex
	errs map[string]error
}

func (h *fakeHost) fail(what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.errs == nil {
		h.errs = map[string]error{}
	}
	h.errs[what] = err
}

func (h *fakeHost) is(what string, x float64) (float64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return x, h.errs[what]
}

func (h *fakeHost) CPU() (float64, error) { return h.is("cpu", 50.1234) }
func (h *fakeHost) RAM() (float64, error) { return h.is("ram", 25) }
func (h *fakeHost) TCP() (hoststats.TCP, error) {
	if _, err := h.is("tcp", 0); err != nil {
		return hoststats.TCP{}, err
	}
	return hoststats.TCP{Established: 7, ListenDrops: 1}, nil
}

// fakeCard discards what it is told.
type fakeCard struct {
	discards uint64
	err      error
}

func (c *fakeCard) Discards() (uint64, error) { return c.discards, c.err }

// fakeBus notes what is published and when.
type fakeBus struct {
	mu      sync.Mutex
	away    bool
	stuck   bool // a publication waits for its context
	err     error
	handler func(bus.Message)
	sent    []sent
}

type sent struct {
	at time.Duration // since the sensor's start
	bus.Publication
}

func (b *fakeBus) set(change func(*fakeBus)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *fakeBus) Connected() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.away
}

func (b *fakeBus) Publish(ctx context.Context, p bus.Publication) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Delivery == bus.BestEffort {
		if b.stuck {
			b.mu.Unlock()
			<-ctx.Done()
			b.mu.Lock()
			return ctx.Err()
		}
		if b.away {
			return bus.ErrAway
		}
		if b.err != nil {
			return b.err
		}
	}
	b.sent = append(b.sent, sent{time.Since(begun), p})
	return nil
}

func (b *fakeBus) Subscribe(_ string, h func(bus.Message)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler = h
	return nil
}

// hear is a message from somebody.
func (b *fakeBus) hear(payload string) {
	b.mu.Lock()
	h := b.handler
	b.mu.Unlock()
	h(bus.Message{Payload: []byte(payload)})
}

// on lists what was published on a topic.
func (b *fakeBus) on(topic string) []sent {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []sent
	for _, s := range b.sent {
		if strings.HasSuffix(s.Topic, "/"+topic) {
			out = append(out, s)
		}
	}
	return out
}

// begun is when time begins in a synctest bubble.
var begun = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// bench is a sensor that runs, in a bubble's time.
type bench struct {
	t        *testing.T
	datapath *fakeDatapath
	host     *fakeHost
	card     fakeCard
	bus      *fakeBus
	log      *strings.Builder // to be read when the sensor has ended
	sensor   *Sensor
	stop     func()
	ended    chan error
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, datapath: &fakeDatapath{}, host: &fakeHost{}, bus: &fakeBus{}, log: &strings.Builder{}}
}

func (b *bench) run() *bench {
	b.t.Helper()
	cfg := DefaultConfig()
	cfg.Version, cfg.Host, cfg.Interface, cfg.Tier = "v1", "bank", "eth0", "xdp-native"
	s, err := New(cfg, b.datapath, b.host, &b.card, b.bus, slog.New(slog.NewTextHandler(b.log, nil)))
	if err != nil {
		b.t.Fatal(err)
	}
	b.sensor = s
	ctx, cancel := context.WithCancel(b.t.Context())
	b.stop, b.ended = cancel, make(chan error, 1)
	ready := make(chan struct{})
	go func() { b.ended <- s.Run(ctx, sync.OnceFunc(func() { close(ready) })) }()
	select {
	case <-ready:
	case err := <-b.ended:
		b.t.Fatal(err)
	}
	return b
}

// end stops the sensor and demands that it ends well.
func (b *bench) end() {
	b.t.Helper()
	b.stop()
	if err := <-b.ended; err != nil {
		b.t.Error(err)
	}
}

// networks lists what was published on metrics/network.
func (b *bench) networks() []wire.Network {
	b.t.Helper()
	var out []wire.Network
	for _, s := range b.bus.on("metrics/network") {
		n, err := wire.DecodeNetwork(s.Payload)
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

var (
	errFake = errors.New("no such luck")
	silent  = slog.New(slog.NewTextHandler(io.Discard, nil))
)
