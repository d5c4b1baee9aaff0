package web

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
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
	Origin   string        // how browsers name this server, like https://weir.bank.example; "" for loopback names only
	Proxy    bool          // one before this server ends TLS, and asks for the page on behalf of others
	Users    bool          // people have to sign in
	Interval time.Duration // between a sensor's regular metrics
	Version  string
	Warnings func() []string // of what needs somebody's care, like an identity that ends; nil for none

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
	if err := c.validateOrigin(); err != nil {
		return err
	}
	beyond := !isLoopback(host)
	switch {
	case beyond && !c.Users:
		return fmt.Errorf("web.listen %s is beyond loopback, and whoever reaches the page could command: name users in web.users (weir web "+
			"user add), or listen on 127.0.0.1", c.Listen)
	case beyond && c.TLSCert == "" && !c.Proxy:
		return fmt.Errorf("web.listen %s is beyond loopback without TLS: give web.tls-cert and web.tls-key, or web.proxy if one before it "+
			"ends TLS", c.Listen)
	case (beyond || c.Proxy) && c.Origin == "":
		return errors.New("web.origin is missing: how browsers name this server, like https://weir.bank.example")
	case c.Proxy && !c.Users:
		return errors.New("web.proxy lets others come: name users in web.users (weir web user add)")
	}
	return nil
}

func (c Config) validateOrigin() error {
	if c.Origin == "" {
		return nil
	}
	u, err := url.Parse(c.Origin)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || c.Origin != "https://"+u.Host {
		return fmt.Errorf("web.origin %q: give https://name or https://name:port", c.Origin)
	}
	return nil
}

// PasskeysFor tells what host browsers bind passkeys to, and the origin of the page there. Without a name in web.origin that is
// localhost; an address can have none, and then both are empty.
func PasskeysFor(listen, origin string, tls bool) (host, at string) {
	if origin == "" {
		_, port, err := net.SplitHostPort(listen)
		if err != nil {
			return "", ""
		}
		scheme := "http"
		if tls {
			scheme = "https"
		}
		return "localhost", fmt.Sprintf("%s://localhost:%s", scheme, port)
	}
	u, err := url.Parse(origin)
	if err != nil || net.ParseIP(u.Hostname()) != nil {
		return "", ""
	}
	return strings.ToLower(u.Hostname()), origin
}

// secure tells whether browsers come by TLS.
func (c Config) secure() bool { return c.TLSCert != "" || c.Proxy }

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
