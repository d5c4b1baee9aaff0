package bus

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// schemes are those of a broker's URL: paho's name and the usual port.
var schemes = map[string]struct{ paho, port string }{
	"tcp":   {"tcp", "1883"},
	"mqtt":  {"tcp", "1883"},
	"tls":   {"tls", "8883"},
	"ssl":   {"tls", "8883"},
	"mqtts": {"tls", "8883"},
	"ws":    {"ws", "8083"},
	"wss":   {"wss", "8084"},
}

const addressForm = "write it as tcp://127.0.0.1:1883 or tls://host:8883"

// parseAddress completes a broker's URL. Its errors never show a password, or a query, which may hold a token.
func parseAddress(broker string) (*url.URL, error) {
	if broker == "" {
		return nil, errors.New("broker is not set: " + addressForm)
	}
	what := "broker"
	if !strings.ContainsAny(broker, "@?") {
		what = fmt.Sprintf("broker %.100q", broker)
	}
	u, err := url.Parse(broker)
	if err != nil || u.Opaque != "" || u.Host == "" && u.Scheme == "" {
		return nil, errors.New(what + " is not a URL: " + addressForm)
	}
	scheme, ok := schemes[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("broker scheme %.20q is none of tcp, tls, ws, wss, mqtt, mqtts: %s", u.Scheme, addressForm)
	}
	if u.Hostname() == "" {
		return nil, errors.New(what + " has no host: " + addressForm)
	}
	port := u.Port()
	if port == "" {
		port = scheme.port
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("broker port %.20q is not between 1 and 65535: %s", port, addressForm)
	}
	web := scheme.paho == "ws" || scheme.paho == "wss"
	switch {
	case web && (u.Path == "" || u.Path == "/"):
		u.Path = "/mqtt"
	case !web && u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("broker path %.40q means nothing to %s: leave it out", u.Path, u.Scheme)
	case !web:
		u.Path = ""
	}
	if u.RawQuery != "" && !web || u.Fragment != "" {
		return nil, fmt.Errorf("%s holds '?' or '#': %s", what, addressForm)
	}
	u.Scheme = scheme.paho
	u.Host = net.JoinHostPort(u.Hostname(), port)
	return u, nil
}

// shown is an address for people: without credentials.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// Shown is a broker's URL for people: without a password, and without a query, which may hold a token.
func Shown(broker string) string {
	u, err := parseAddress(broker)
	if err != nil {
		return "the broker"
	}
	return shown(u)
}

// encrypted tells whether a completed address is one of TLS.
func encrypted(u *url.URL) bool { return u.Scheme == "tls" || u.Scheme == "wss" }

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// Encrypted tells whether a broker's URL is one of TLS.
func Encrypted(broker string) bool {
	u, err := parseAddress(broker)
	return err == nil && encrypted(u)
}

// Local tells whether a broker's URL is one on loopback.
func Local(broker string) bool {
	u, err := parseAddress(broker)
	return err == nil && loopback(u.Hostname())
}
