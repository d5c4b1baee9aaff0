package export

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/access"
	"github.com/weir-sensor/weir/pkg/trust"
)

// FuzzNames: whatever org, site and server are named, no file says more than the rules do.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"bank", "a b", "x\ntopic read #", `b"k\`, "${username}", "#", "+", "a\u2028b", "user", " x", `"]}.{allow, all}.%`} {
		f.Add("org", "north", s)
		f.Add(s, "", "bank")
		f.Add("org", s, s)
	}
	h, err := Hash("0123456789012345678901234567890123456789012")
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, org, site, server string) {
		id := trust.Identity{Name: "controller-aaaaaaaa", Role: trust.Controller, Org: org, Site: site, Server: server,
			NotBefore: now, NotAfter: now.Add(time.Hour)}
		file := &trust.File{Identities: []trust.Identity{id}}
		rules, hashes := access.RulesFor(id), map[string]Hashes{id.Name: h}
		var want strings.Builder
		want.WriteString("\nuser controller-aaaaaaaa\n")
		for _, filter := range rules.Read {
			want.WriteString("topic read " + filter + "\n")
		}
		for _, w := range rules.Write {
			want.WriteString("topic write " + w.Filter + "\n")
		}
		if files, err := Mosquitto(file, hashes, Options{Now: now}); err == nil {
			acl := string(files["acl"])
			if !strings.HasSuffix(acl, want.String()) || strings.Count(acl, "\n") != 2+strings.Count(want.String(), "\n") ||
				len(strings.FieldsFunc(acl, func(r rune) bool { return r == '\n' || r == '\r' })) != 3+len(rules.Read)+len(rules.Write) {
				t.Errorf("%q/%q/%q: %q", org, site, server, acl)
			}
		}
		if files, err := EMQX(file, hashes, Options{Now: now}); err == nil {
			lines := strings.Split(strings.TrimSuffix(string(files["acl.conf"]), "\n"), "\n")
			for i, line := range lines {
				if i >= 2 && i < len(lines)-1 && !rule.MatchString(line) {
					t.Errorf("%q/%q/%q: %q", org, site, server, line)
				}
			}
			if len(lines) > 5 || lines[len(lines)-1] != "{deny, all}." {
				t.Errorf("%q/%q/%q: %q", org, site, server, lines)
			}
		}
		if files, err := NATS(file, hashes, Options{Now: now}); err == nil {
			if n := strings.Count(string(files["nats-server.conf"]), "\n"); len(rules.Read) > 0 && n != 36 {
				t.Errorf("%q/%q/%q: %d lines: %s", org, site, server, n, files["nats-server.conf"])
			}
		}
	})
}
