// Package sensor watches the datapath and the host, and publishes what it sees: regularly, and at once when SYNs cross a
// level. Counting and dropping are the datapath's; they go on without a sensor, and a sensor without a broker.
package sensor

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Datapath is what is read of the XDP program. An error means that it can't be read any more.
type Datapath interface {
	Counters() (datapath.Counters, error)
	Control() (datapath.Control, error)
	TopSources(now time.Time, n int) ([]datapath.SourceRate, error)
}

// Host is the protected server: CPU since the last call and RAM in percent.
type Host interface {
	CPU() (float64, error)
	RAM() (float64, error)
	TCP() (hoststats.TCP, error)
}

// Card is the interface's: packets that it discarded since the last call.
type Card interface {
	Discards() (uint64, error)
}

// Bus is the connection to the broker.
type Bus interface {
	Publish(context.Context, bus.Publication) error
	Subscribe(filter string, h func(bus.Message)) error
	Connected() bool
}

// Sensor is one server's.
type Sensor struct {
	cfg        Config
	datapath   Datapath
	host       Host
	card       Card
	bus        Bus
	log        *slog.Logger
	complaints console.Complaints
	out        chan message
	missed     atomic.Bool // an early report didn't get out
	denied     atomic.Bool // somebody said that this sensor is offline
	lostCount  atomic.Uint64
	asked      chan chan answer

	// The rest is the sampling goroutine's.
	window   window
	early    early
	presence presence
	seconds  seconds
	ticks    int
	reported sampled   // at the last report
	next     time.Time // regular report
	top      []datapath.SourceRate
	tcp      hoststats.TCP // as known last
	second   second
	known    Stats // what Stats needn't find out anew
}

// sampled is what was counted when.
type sampled struct {
	at       time.Time
	counters datapath.Counters
}

const (
	sampleEvery   = 100 * time.Millisecond
	samplesPerTop = 10 // the datapath's counts of sources are good for a second

	samplesPerSecond = int(time.Second / sampleEvery)
	complainEvery    = time.Minute
)

// New returns a sensor of a datapath that is attached.
func New(cfg Config, d Datapath, h Host, c Card, b Bus, log *slog.Logger) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Sensor{
		cfg: cfg, datapath: d, host: h, card: c, bus: b, log: log,
		complaints: console.Complaints{Log: log, Every: complainEvery},
		out:        make(chan message, outbox),
		early:      early{level: cfg.EarlyReport},
		asked:      make(chan chan answer),
	}, nil
}

// Run samples until ctx ends; it is not to be run again. It calls alive after the first sample, whether there is a broker
// or not, and again after each. It returns an error when the datapath can't be read any more, as after weir unload.
func (s *Sensor) Run(ctx context.Context, alive func()) error {
	if err := s.begin(time.Now()); err != nil {
		return err
	}
	publishing, stop := context.WithCancel(ctx)
	var publisher sync.WaitGroup
	publisher.Go(func() { s.publish(publishing) })
	defer func() {
		stop()
		publisher.Wait()
		s.publishPresence(time.Now(), wire.Offline)
	}()
	if !s.cfg.Deaf {
		go s.watchPresence() // asks the broker and waits
	}
	alive()

	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.sample(time.Now()); err != nil {
				return err
			}
			alive()
		case reply := <-s.asked:
			reply <- s.stats()
		case <-ctx.Done():
			return nil
		}
	}
}
