package export

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-sensor/weir/pkg/trust"
)

// EMQX fills ${…} in, and takes a topic that begins with "eq " literally.
var emqx = target{name: "EMQX", dir: "/etc/emqx/weir", unfit: func(level string) string {
	if strings.Contains(level, "${") || strings.HasPrefix(level, "eq ") {
		return `holds "${" or begins with "eq "`
	}
	return ""
}}

// EMQX writes weir.conf, to be included in emqx.conf, and the files that it names: acl.conf, users.csv, ca.crt. For EMQX 5.7 and
// later, which takes the users in when it starts for the first time.
//
// The user's name is taken from the certificate and its password is asked for, so both are one identity's. It isn't tried by weir's
// tests, which check the files' form only.
func EMQX(f *trust.File, hashes map[string]Hashes, o Options) (map[string][]byte, error) {
	o, _, _, err := o.complete(emqx)
	if err != nil {
		return nil, fmt.Errorf("export for EMQX: %w", err)
	}
	all, err := users(f, hashes, o.Now, emqx)
	if err != nil {
		return nil, fmt.Errorf("export for EMQX: %w", err)
	}
	conf := header("##", o.Now, `Add to emqx.conf: include "`+o.file("weir.conf")+`". The other files are for `+o.Dir+", readable by EMQX alone.",
		"Users who were revoked must be deleted by emqx, too: it reads users.csv once.",
		"Whoever may publish may also leave a will: EMQX has no rule for that.")
	fmt.Fprintf(conf, `
listeners.tcp.default.enable = false
listeners.ws.default.enable = false
listeners.wss.default.enable = false
listeners.ssl.default {
  bind = %q
  max_connections = %d
  ssl_options {
    cacertfile = %q
    certfile = %q
    keyfile = %q
    verify = verify_peer
    fail_if_no_peer_cert = true
    versions = ["tlsv1.3"]
  }
}
mqtt {
  max_packet_size = "%dB"
  max_mqueue_len = %d
  shared_subscription = false
  peer_cert_as_username = cn
}
authentication = [
  {
    mechanism = password_based
    backend = built_in_database
    user_id_type = username
    password_hash_algorithm { name = bcrypt }
    bootstrap_file = %q
    bootstrap_type = hash
  }
]
authorization {
  no_match = deny
  deny_action = ignore
  cache { enable = false }
  sources = [{ type = file, enable = true, path = %q }]
}
`, o.Listen, maxClients, o.file(caFile), o.file(certificateFile), o.file(keyFile), maxPacket, maxQueued, o.file("users.csv"), o.file("acl.conf"))

	acl, csv := header("%%", o.Now, "The first rule that matches decides."), new(bytes.Buffer)
	fmt.Fprintln(csv, "user_id,password_hash,salt,is_superuser")
	for _, u := range all {
		fmt.Fprintf(csv, "%s,%s,,false\n", u.name, u.hashes.Bcrypt)
		rule := func(decision, action string, filters []string) {
			if len(filters) > 0 {
				fmt.Fprintf(acl, "{%s, {username, %q}, %s, [%s]}.\n", decision, u.name, action, erlang(filters))
			}
		}
		var write, retained []string
		for _, w := range u.rules.Write {
			if w.Retained {
				retained = append(retained, w.Filter)
			} else {
				write = append(write, w.Filter)
			}
		}
		rule("deny", "publish", u.rules.Never)
		rule("allow", "publish", retained)
		rule("allow", "{publish, [{retain, false}]}", write)
		rule("allow", "subscribe", u.rules.Read)
	}
	fmt.Fprintln(acl, "{deny, all}.")
	return map[string][]byte{"weir.conf": conf.Bytes(), "acl.conf": acl.Bytes(), "users.csv": csv.Bytes(), caFile: []byte(f.Authority)}, nil
}

// erlang writes strings as Erlang does: of what is printable, only quotes and backslashes are escaped.
func erlang(filters []string) string {
	quoted := make([]string, len(filters))
	for i, f := range filters {
		quoted[i] = strconv.Quote(f)
	}
	return strings.Join(quoted, ", ")
}
