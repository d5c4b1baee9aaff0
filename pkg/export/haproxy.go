package export

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"
)

// Front is an HAProxy before a broker.
type Front struct {
	Now    time.Time
	Listen string // host:port for MQTT over TLS; empty for all addresses, port 8883
	Broker string // host:port of the broker for the same
}

// What one source may do at the front: the same as at the embedded broker's door.
const (
	frontPerSource = 512    // connections
	frontConnects  = 200    // connections in 10 s
	frontBytes     = 16     // MiB per second, of all its connections, over which it gets no further one
	frontSources   = 100    // thousands that are remembered
	frontMargin    = 20_000 // connections that have said nothing yet
)

// HAProxy writes weir-front.cfg, for HAProxy 2.6 and later beside its own haproxy.cfg: limits that mosquitto and NATS lack. TLS passes
// through it, so that it sees nothing and the broker still checks certificates.
func HAProxy(f Front) (map[string][]byte, error) {
	if f.Listen == "" {
		f.Listen = defaultListen
	}
	for what, address := range map[string]string{"listen": f.Listen, "broker": f.Broker} {
		_, port, err := net.SplitHostPort(address)
		if err != nil || port == "" || strings.ContainsFunc(address, func(r rune) bool { return !strings.ContainsRune("[]:.-%_", r) && !alphanumeric(r) }) {
			return nil, fmt.Errorf("export for HAProxy: %s %.64q: give host:port, such as 127.0.0.1:8884", what, address)
		}
	}
	b := header("#", f.Now, "Put it into /etc/haproxy, and EXTRAOPTS=\"-f /etc/haproxy/weir-front.cfg\" into /etc/default/haproxy.",
		"Have the broker listen on "+f.Broker+", where nobody else reaches it: it takes this host for every client.")
	front(b, f)
	return map[string][]byte{"weir-front.cfg": b.Bytes()}, nil
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func front(b *bytes.Buffer, f Front) {
	fmt.Fprintf(b, `
defaults weir
    mode tcp
    timeout connect 5s
    # The broker watches over keep-alives; this is for connections that it has forgotten.
    timeout client 10m
    timeout server 10m
    timeout client-fin 10s

frontend weir-mqtt from weir
    bind %s
    maxconn %d
    # A source is an IPv4 address, or the /64 that a host may choose its addresses from.
    stick-table type ipv6 size %dk expire 10m store conn_cur,conn_rate(10s),bytes_in_rate(10s)
    tcp-request connection track-sc0 src,ipmask(32,64)
    tcp-request connection reject if { sc_conn_cur(0) gt %d }
    tcp-request connection reject if { sc_conn_rate(0) gt %d }
    tcp-request connection reject if { sc_bytes_in_rate(0) gt %d }
    # Whoever doesn't begin TLS in 10 s goes, and the broker never hears of him.
    tcp-request inspect-delay 10s
    tcp-request content accept if { req.ssl_hello_type 1 }
    tcp-request content reject
    default_backend weir-broker

backend weir-broker from weir
    server broker %s maxconn %d
`, f.Listen, maxClients+frontMargin, frontSources, frontPerSource, frontConnects, frontBytes<<20*10, f.Broker, maxClients)
}
