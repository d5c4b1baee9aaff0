package export

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/weir-sensor/weir/pkg/trust"
)

// A dot parts NATS's levels, and a space ends a subject.
var nats = target{name: "NATS", dir: "/etc/nats/weir", unfit: func(level string) string {
	if strings.ContainsAny(level, ". ") {
		return "holds a dot or a space"
	}
	return ""
}}

// NATS writes nats-server.conf and ca.crt, for nats-server 2.9.10 and later. MQTT is on the listener; the NATS protocol itself is on
// loopback, and none of the users may speak it.
//
// A client needs a certificate of the root's and its user's password, but NATS can't tell whether they are one identity's: with
// verify_and_map it takes the user from the certificate and asks for no password.
func NATS(f *trust.File, hashes map[string]Hashes, o Options) (map[string][]byte, error) {
	o, host, port, err := o.complete(nats)
	if err != nil {
		return nil, fmt.Errorf("export for NATS: %w", err)
	}
	all, err := users(f, hashes, o.Now, nats)
	if err != nil {
		return nil, fmt.Errorf("export for NATS: %w", err)
	}
	b := header("#", o.Now, "Put ca.crt into "+o.Dir+"; nats-server alone may read this file.",
		"The certificate and the password are both asked for, but may be of two identities: NATS can't compare them.",
		"Whoever may publish may also retain, and leave a will: NATS has no rule for that.", "Clients must speak MQTT 3.1.1.")
	fmt.Fprintf(b, "\nserver_name: weir\nlisten: \"127.0.0.1:4222\"\n")
	fmt.Fprintf(b, "max_payload: %d\nmax_connections: %d\nmax_pending: %d\nmax_subscriptions: %d\n", maxPacket, maxClients, maxQueued*maxPacket, maxClients)
	fmt.Fprintf(b, "jetstream { store_dir: %q }\n", o.file("jetstream"))
	fmt.Fprintf(b, "mqtt {\n  listen: %q\n  max_ack_pending: %d\n  tls {\n", net.JoinHostPort(host, port), maxQueued)
	fmt.Fprintf(b, "    cert_file: %q\n    key_file: %q\n    ca_file: %q\n    verify: true\n  }\n}\n",
		o.file(certificateFile), o.file(keyFile), o.file(caFile))
	fmt.Fprint(b, "authorization {\n  users: [\n")
	for _, u := range all {
		fmt.Fprintf(b, "    {\n      user: %q\n      password: %q\n      allowed_connection_types: [\"MQTT\"]\n", u.name, u.hashes.Bcrypt)
		fmt.Fprint(b, "      permissions: {\n")
		var write, never []string
		for _, w := range u.rules.Write {
			write = append(write, subjects(w.Filter)...)
		}
		for _, filter := range u.rules.Never {
			never = append(never, subjects(filter)...)
		}
		if write == nil {
			never = []string{">"} // an empty list would allow everything
		}
		read := []string{"$MQTT.sub.>"} // where nats-server sends QoS 1 messages to; it lets no client subscribe there itself
		for _, filter := range u.rules.Read {
			read = append(read, subjects(filter)...)
		}
		list(b, "publish", write, never)
		list(b, "subscribe", read, nil)
		fmt.Fprint(b, "      }\n    }\n")
	}
	fmt.Fprint(b, "  ]\n}\n")
	return map[string][]byte{"nats-server.conf": b.Bytes(), caFile: []byte(f.Authority)}, nil
}

func list(b *bytes.Buffer, what string, allow, deny []string) {
	var parts []string
	for _, l := range []struct {
		name     string
		subjects []string
	}{{"allow", allow}, {"deny", deny}} {
		if l.subjects == nil {
			continue
		}
		quoted := make([]string, len(l.subjects))
		for i, s := range l.subjects {
			quoted[i] = strconv.Quote(s)
		}
		parts = append(parts, fmt.Sprintf("%s: [%s]", l.name, strings.Join(quoted, ", ")))
	}
	fmt.Fprintf(b, "        %s: { %s }\n", what, strings.Join(parts, ", "))
}

// subjects translates a filter: a/# matches a, too, which a.> doesn't.
func subjects(filter string) []string {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch level {
		case "+":
			levels[i] = "*"
		case "#":
			return []string{strings.Join(levels[:i], "."), strings.Join(levels[:i], ".") + ".>"}
		}
	}
	return []string{strings.Join(levels, ".")}
}
