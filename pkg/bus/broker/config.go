// Package broker is the embedded MQTT broker (3.1.1 and 5, over TCP and WebSocket). It alone imports mochi-mqtt, and puts
// guards around what that leaves open: sizes, rates, wills, retained commands, silent and stalled clients. With Trust it asks
// everybody who he is, over TLS.
package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Config of the broker. Start from DefaultConfig.
type Config struct {
	Listen      string // host:port for MQTT over TCP
	ListenWS    string // host:port for MQTT over WebSocket; empty for none
	AllowRemote bool   // listen beyond loopback, though nobody is asked who he is
	Trust       *Trust // ask everybody; nil for nobody
}

// DefaultConfig listens on loopback only.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:1883", ListenWS: "127.0.0.1:8083"}
}

// The limits that keep one client from using up the host.
const (
	maxPacketBytes   = wire.MaxPayload + 1<<10 // a payload with its topic and properties
	maxPending       = 512                     // packets waiting for one slow reader, 33 MB at most; then the newest are dropped
	maxInflight      = 256                     // unacknowledged QoS 1 and 2 packets of one session
	maxSessionHours  = 1                       // of a client that is gone
	maxClients       = 1000
	maxPerIdentity   = 100  // connections of one, so that a stolen one doesn't take all
	maxSessions      = 64   // kept for clients that are gone
	maxSubscriptions = 1000 // of one client
	maxRetained      = 4096 // topics
	retainedDays     = 3650 // a status that nothing has changed must not go away
	maxLevels        = 16   // of a topic; weir's have five or six

	connectTimeout = 10 * time.Second
)

// Validate names what is wrong.
func (c Config) Validate() error {
	errs := []error{c.validateListen("listen", c.Listen)}
	if c.ListenWS != "" {
		errs = append(errs, c.validateListen("listen-ws", c.ListenWS))
	}
	return errors.Join(errs...)
}

func (c Config) validateListen(name, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return fmt.Errorf("%s %q: give host:port, such as 127.0.0.1:1883", name, address)
	}
	if c.AllowRemote || c.Trust != nil || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("%s %s: the broker asks nobody who he is, so beyond loopback anybody could command this host's limits: "+
		"use an address like 127.0.0.1, a broker with users, or --allow-remote if the network is closed", name, address)
}

// isLoopback takes no name but localhost: another may mean another address tomorrow.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// listen opens an address.
func listen(name, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use: another broker runs there; use it with --broker tcp://%s, or choose another "+
			"address with --%s", address, address, name)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: not permitted: choose a port above 1023 with --%s", address, name)
	case err != nil:
		return nil, fmt.Errorf("--%s: %w", name, err)
	}
	return l, nil
}
