package export

import (
	"bytes"
	"fmt"

	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

// What the brokers are told to bear, near the embedded broker's own limits.
const (
	maxPacket  = wire.MaxPayload + 1<<10
	maxClients = 1000
	maxQueued  = 512
)

var mosquitto = target{name: "mosquitto", dir: "/etc/mosquitto/weir", unfit: func(string) string { return "" }}

// Mosquitto writes weir.conf, for /etc/mosquitto/conf.d, and the files that it names: acl, passwd, ca.crt. For mosquitto 2.0.11 and
// later.
//
// A client needs a certificate of the root's and its user's password, but mosquitto can't tell whether they are one identity's: with
// use_identity_as_username it takes the user's name from the certificate and asks for no password. It has no list of
// revoked certificates here, but who is revoked is no user any more.
func Mosquitto(f *trust.File, hashes map[string]Hashes, o Options) (map[string][]byte, error) {
	o, host, port, err := o.complete(mosquitto)
	if err != nil {
		return nil, fmt.Errorf("export for mosquitto: %w", err)
	}
	all, err := users(f, hashes, o.Now, mosquitto)
	if err != nil {
		return nil, fmt.Errorf("export for mosquitto: %w", err)
	}
	conf := header("#", o.Now, "Put it into /etc/mosquitto/conf.d, the other files into "+o.Dir+", readable by mosquitto alone.",
		"The certificate and the password are both asked for, but may be of two identities: mosquitto can't compare them.",
		"Whoever may publish may also retain, and leave a will: mosquitto has no rule for that.")
	fmt.Fprintf(conf, "\nallow_anonymous false\npassword_file %s\nacl_file %s\n", o.file("passwd"), o.file("acl"))
	fmt.Fprintf(conf, "max_packet_size %d\nmax_queued_messages %d\n", maxPacket, maxQueued)
	fmt.Fprint(conf, "set_tcp_nodelay true\n") // a message waits 40 ms otherwise for the one before to be acknowledged
	fmt.Fprintf(conf, "\nlistener %s %s\nmax_connections %d\n", port, host, maxClients)
	fmt.Fprintf(conf, "cafile %s\ncertfile %s\nkeyfile %s\n", o.file(caFile), o.file(certificateFile), o.file(keyFile))
	fmt.Fprint(conf, "require_certificate true\ntls_version tlsv1.3\n")

	acl, passwd := header("#", o.Now, "What isn't allowed here is denied."), new(bytes.Buffer)
	for _, u := range all {
		fmt.Fprintf(passwd, "%s:%s\n", u.name, u.hashes.PBKDF2)
		fmt.Fprintf(acl, "\nuser %s\n", u.name)
		for _, filter := range u.rules.Never {
			fmt.Fprintf(acl, "topic deny %s\n", filter)
		}
		for _, filter := range u.rules.Read {
			fmt.Fprintf(acl, "topic read %s\n", filter)
		}
		for _, w := range u.rules.Write {
			fmt.Fprintf(acl, "topic write %s\n", w.Filter)
		}
	}
	return map[string][]byte{
		"weir.conf": conf.Bytes(), "acl": acl.Bytes(), "passwd": passwd.Bytes(), caFile: []byte(f.Authority),
	}, nil
}
