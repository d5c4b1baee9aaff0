package web

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Config of the page's server.
type Config struct {
	Root     wire.Root     // the server that is shown first
	Watch    []string      // filters for the roots of others, like "bank/+/+"
	Listen   string        // address:port
	TLSCert  string        // files of a certificate and its key; "" for plain HTTP
	TLSKey   string        //
	Interval time.Duration // between a sensor's regular metrics
	Version  string

	// Thresholds are drawn into the charts: the monitor's.
	Thresholds Thresholds
}

// Thresholds are those of the monitor.
type Thresholds struct {
	CPU         float64 `json:"cpu"`         // percent
	RAM         float64 `json:"ram"`         // percent
	SYNs        float64 `json:"syns"`        // in 5 s
	Connections float64 `json:"connections"` // active
}

// Validate names what is wrong.
func (c Config) Validate() error {
	if err := c.Root.Validate(); err != nil {
		return err
	}
	for _, f := range c.Watch {
		if err := validateRoots(f); err != nil {
			return err
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("web.tls-cert and web.tls-key belong together: give both or none")
	}
	if c.Interval <= 0 {
		return fmt.Errorf("interval %v: give one above 0", c.Interval)
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("web.listen %q: give address:port, like 127.0.0.1:8080", c.Listen)
	}
	if !isLoopback(host) {
		return fmt.Errorf("web.listen %s is beyond loopback, and whoever reaches the page can command: listen on 127.0.0.1 and let "+
			"people come by an SSH tunnel or a proxy that asks who they are", c.Listen)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// validateRoots checks a filter of two or three levels, each a name or +.
func validateRoots(filter string) error {
	levels := strings.Split(filter, "/")
	if len(levels) != 2 && len(levels) != 3 || slices.Contains(levels, "") {
		return fmt.Errorf("web.watch %q: give ORG/SERVER or ORG/SITE/SERVER, where + stands for any", filter)
	}
	for i, level := range levels {
		if level == "+" {
			levels[i] = "x"
		}
	}
	root := wire.Root{Org: levels[0], Server: levels[len(levels)-1]}
	if len(levels) == 3 {
		root.Site = levels[1]
	}
	if err := root.Validate(); err != nil {
		return fmt.Errorf("web.watch %q: %w", filter, err)
	}
	return nil
}
