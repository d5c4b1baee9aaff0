package sensor

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Config of the sensor. Start from DefaultConfig.
type Config struct {
	Root      wire.Root
	Deaf      bool   // the broker lets it read nothing: it can't see who calls it offline, and says online again each minute
	Interface string // these six are told to whoever listens
	Tier      string
	Transport string
	Warning   func() string // that the identity ends; nil for none
	Version   string
	Host      string

	Interval    time.Duration // between regular metrics
	EarlyReport uint64        // SYNs in 5 s over which network metrics are sent at once; 0 for never
	TopSources  int           // to report
}

// DefaultConfig is what the design says.
func DefaultConfig() Config {
	return Config{Root: wire.DefaultRoot, Interval: 5 * time.Second, EarlyReport: 700, TopSources: 10}
}

const (
	minInterval = time.Second
	maxInterval = time.Hour

	// maxTopSources keeps a payload, at some 80 bytes a source, well below wire.MaxPayload.
	maxTopSources = 100
)

// Validate names every value that is wrong, one line each.
func (c Config) Validate() error {
	errs := []error{c.Root.Validate()}
	if c.Interval < minInterval || c.Interval > maxInterval {
		errs = append(errs, fmt.Errorf("sensor interval %v: give a time from %v to %v", c.Interval, minInterval, maxInterval))
	}
	if c.TopSources < 0 || c.TopSources > maxTopSources {
		errs = append(errs, fmt.Errorf("top sources %d: give 0 to %d", c.TopSources, maxTopSources))
	}
	return errors.Join(errs...)
}
