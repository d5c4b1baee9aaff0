package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Config of the controller. Start from DefaultConfig.
type Config struct {
	Root       wire.Root
	Limit      datapath.Limit // of commands that name none
	Lease      time.Duration  // of commands without ttl_seconds, renewed while the flood lasts
	RenewEvery time.Duration  // how often to look whether it does

	File   string               // notes whose limit is on, for the next controller; "" for none
	Uptime func() time.Duration // since the boot, which File's times are told in

	Reconnected <-chan struct{} // tells that the broker is there again; nil for never

	Approve       []string      // commands that two people must send
	ApproveWithin time.Duration // the second of them
	Transport     string        // told in each status
	Warning       func() string // the same; nil for none
	Describe      func() string // added to what is said of a limit; nil for nothing
}

// DefaultConfig is what the design says.
func DefaultConfig() Config {
	return Config{
		Root:       wire.DefaultRoot,
		Limit:      datapath.DefaultLimit,
		Lease:      10 * time.Minute,
		RenewEvery: 15 * time.Second,
		Uptime:     uptime,

		ApproveWithin: 2 * time.Minute,
	}
}

// Validate names every key that is wrong, one line each.
func (c Config) Validate() error {
	errs := []error{c.Root.Validate()}
	if c.Root.Org == "public" {
		errs = append(errs, errors.New(`org "public" is where anybody may write: choose another name`))
	}
	if err := c.Limit.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("limit: %w", err))
	}
	if c.Lease < minLease || c.Lease > datapath.MaxLease {
		errs = append(errs, fmt.Errorf("lease %v: give %v to %v", c.Lease, minLease, datapath.MaxLease))
	}
	if c.RenewEvery <= 0 || c.RenewEvery > c.Lease/2 {
		errs = append(errs, fmt.Errorf("renew every %v: give a time above 0, half of the lease (%v) at most", c.RenewEvery, c.Lease))
	}
	for _, name := range c.Approve {
		if !slices.Contains(wire.Commands, name) {
			errs = append(errs, fmt.Errorf("approval: there is no command %.64q: give some of %s", name, strings.Join(wire.Commands, ", ")))
		}
	}
	if len(c.Approve) > 0 && (c.ApproveWithin < time.Second || c.ApproveWithin > time.Hour) {
		errs = append(errs, fmt.Errorf("approval within %v: give 1s to 1h", c.ApproveWithin))
	}
	return errors.Join(errs...)
}

const minLease = time.Second
