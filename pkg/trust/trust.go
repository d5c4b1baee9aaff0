// Package trust says who is who on the broker: the identities that weir keys has issued, each with the one role it plays for one
// server or site, the key that its messages are signed with, and what it shows a broker. The file holds no secrets. The package is
// pure but for reading files.
package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Role is what an identity may do.
type Role string

// The roles. A site's monitors, operators and viewers are for all of its servers.
const (
	Sensor     Role = "sensor"     // publishes one server's metrics
	Controller Role = "controller" // carries out one server's commands
	Monitor    Role = "monitor"    // reads a site's metrics, publishes its alerts and commands
	Operator   Role = "operator"   // reads all of a site, publishes its commands
	Viewer     Role = "viewer"     // reads all of a site
	Broker     Role = "broker"     // is the broker itself: it has a certificate and signs nothing
)

// Roles are all of them, in the order in which people read about them.
var Roles = []Role{Sensor, Controller, Monitor, Operator, Viewer, Broker}

// OfOneServer tells the roles that belong to one server.
func (r Role) OfOneServer() bool { return r == Sensor || r == Controller }

// Signs tells the roles whose messages others act on.
func (r Role) Signs() bool { return r == Sensor || r == Controller || r == Monitor || r == Operator }

// Ed25519 is the algorithm of all keys so far. It is taken from here, never from a message.
const Ed25519 = "ed25519"

// Identity is one component's, or one person's. It is never changed but to be revoked: a renewed one has another name, and both are
// good until the old one ends.
type Identity struct {
	Name        string     `json:"name"` // "sensor-k3v9q2xd": the broker's user name, the certificate's common name, the key's ID
	Role        Role       `json:"role"`
	Org         string     `json:"org"`
	Site        string     `json:"site,omitempty"`
	Server      string     `json:"server,omitempty"` // of the roles of one server only
	Label       string     `json:"label,omitempty"`  // whose it is, for people to read
	Algorithm   string     `json:"algorithm,omitempty"`
	Key         string     `json:"key,omitempty"`         // public, base64; of roles that sign
	Certificate string     `json:"certificate,omitempty"` // SHA-256 of its DER, in hexadecimal
	Password    string     `json:"password,omitempty"`    // SHA-256 of 256 random bits as they are typed, in hexadecimal: nobody guesses those
	NotBefore   time.Time  `json:"not_before"`
	NotAfter    time.Time  `json:"not_after"`
	Revoked     *time.Time `json:"revoked,omitempty"`
}

// File is the trust file.
type File struct {
	Version    int        `json:"version"`    // of this form: 1
	Authority  string     `json:"authority"`  // the root certificate, in PEM
	Identities []Identity `json:"identities"` // oldest first
}

const (
	version       = 1
	maxFile       = 16 << 20
	maxIdentities = 20_000
	maxLabel      = 64
)

var nameForm = regexp.MustCompile(`^[a-z]{1,16}-[a-z2-7]{8,26}$`)

// Read reads a trust file. Errors are one line and begin with the path.
func Read(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than 16 MiB: is it the right file?", path)
	}
	t, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Parse reads what a trust file holds.
func Parse(text []byte) (*File, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a member that this version doesn't know might restrict
	var t File
	if err := d.Decode(&t); err != nil {
		return nil, fmt.Errorf("no trust file: %.200s", oneLine(err))
	}
	if d.More() {
		return nil, errors.New("no trust file: text after it")
	}
	if t.Version != version {
		return nil, fmt.Errorf("version %d of the trust file, want %d: make it anew by weir keys", t.Version, version)
	}
	if len(t.Identities) > maxIdentities {
		return nil, fmt.Errorf("more than %d identities", maxIdentities)
	}
	seen := map[string]bool{}
	for _, id := range t.Identities {
		if err := id.validate(); err != nil {
			return nil, fmt.Errorf("identity %.64q: %w", id.Name, err)
		}
		if seen[id.Name] {
			return nil, fmt.Errorf("identity %s is there twice", id.Name)
		}
		seen[id.Name] = true
	}
	return &t, nil
}

func oneLine(err error) string {
	return string(bytes.ReplaceAll([]byte(err.Error()), []byte("\n"), []byte(" ")))
}

func (id Identity) validate() error {
	if !nameForm.MatchString(id.Name) {
		return errors.New("a name is a role, a hyphen and 8 to 26 of a to z and 2 to 7")
	}
	if !slices.Contains(Roles, id.Role) {
		return fmt.Errorf("there is no role %.32q", id.Role)
	}
	if err := id.ValidatePlace(); err != nil {
		return err
	}
	if id.Role.Signs() != (id.Key != "") || id.Key != "" && id.Algorithm != Ed25519 {
		return fmt.Errorf("a %s has a key of algorithm %s: %t", id.Role, Ed25519, id.Role.Signs())
	}
	if id.Key != "" {
		if k, err := base64.StdEncoding.DecodeString(id.Key); err != nil || len(k) != ed25519.PublicKeySize {
			return errors.New("key is no public key of Ed25519 in base64")
		}
	}
	for name, sum := range map[string]string{"certificate": id.Certificate, "password": id.Password} {
		if b, err := hex.DecodeString(sum); sum != "" && (err != nil || len(b) != sha256.Size) {
			return fmt.Errorf("%s is no SHA-256 in hexadecimal", name)
		}
	}
	if !id.NotBefore.Before(id.NotAfter) {
		return errors.New("it ends before it begins")
	}
	return nil
}

// ValidatePlace checks where an identity belongs, and its label.
func (id Identity) ValidatePlace() error {
	switch {
	case id.Role.OfOneServer() && id.Server == "":
		return fmt.Errorf("a %s is of one server: name it", id.Role)
	case !id.Role.OfOneServer() && id.Server != "":
		return fmt.Errorf("a %s is of a whole site: leave the server out", id.Role)
	case len(id.Label) > maxLabel || strings.ContainsFunc(id.Label, unicode.IsControl):
		return fmt.Errorf("a label has %d bytes at most, and no control characters", maxLabel)
	}
	return id.root().Validate()
}

// root is that of its server, or of any server of its site.
func (id Identity) root() wire.Root {
	r := wire.Root{Org: id.Org, Site: id.Site, Server: id.Server}
	if !id.Role.OfOneServer() {
		r.Server = "any"
	}
	return r
}

// Speaks tells whether an identity's role is for a server.
func (id Identity) Speaks(root wire.Root) bool {
	return id.Org == root.Org && id.Site == root.Site && (!id.Role.OfOneServer() || id.Server == root.Server)
}

// Valid is nil while an identity is good. A revoked one isn't, whatever this clock says.
func (id Identity) Valid(now time.Time) error {
	switch {
	case id.Revoked != nil:
		return fmt.Errorf("%s was revoked on %s", id.Name, id.Revoked.UTC().Format(time.DateOnly))
	case now.Before(id.NotBefore):
		return fmt.Errorf("%s isn't good before %s: is this clock right?", id.Name, id.NotBefore.UTC().Format(time.RFC3339))
	case now.After(id.NotAfter):
		return fmt.Errorf("%s ended on %s: weir keys rotate %s", id.Name, id.NotAfter.UTC().Format(time.DateOnly), id.Name)
	}
	return nil
}

// PublicKey is nil for roles that don't sign.
func (id Identity) PublicKey() ed25519.PublicKey {
	k, err := base64.StdEncoding.DecodeString(id.Key)
	if err != nil || len(k) != ed25519.PublicKeySize {
		return nil
	}
	return k
}

// Shows tells whether a certificate, in DER, and a password are this identity's.
func (id Identity) Shows(certificate, password []byte) bool {
	c, p := Sum(certificate), Sum(password)
	return subtle.ConstantTimeCompare([]byte(c), []byte(id.Certificate))&subtle.ConstantTimeCompare([]byte(p), []byte(id.Password)) == 1
}

// Sum is how certificates and passwords are kept.
func Sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// Ending are the good identities of a site that end within a time, the next one first, but those that have a successor: one of the same
// role, place and label that lasts longer.
func (t *File) Ending(now time.Time, within time.Duration, org, site string) []Identity {
	last := map[[4]string]time.Time{}
	who := func(id Identity) [4]string { return [4]string{string(id.Role), id.Site, id.Server, id.Label} }
	var all []Identity
	for _, id := range t.Identities {
		if id.Org == org && id.Site == site && id.Valid(now) == nil {
			all = append(all, id)
			if k := who(id); id.NotAfter.After(last[k]) {
				last[k] = id.NotAfter
			}
		}
	}
	all = slices.DeleteFunc(all, func(id Identity) bool {
		return id.NotAfter.Sub(now) >= within || id.NotAfter.Before(last[who(id)])
	})
	slices.SortStableFunc(all, func(a, b Identity) int { return a.NotAfter.Compare(b.NotAfter) })
	return all
}

// Find returns an identity by its name.
func (t *File) Find(name string) (Identity, bool) {
	for _, id := range t.Identities {
		if id.Name == name {
			return id, true
		}
	}
	return Identity{}, false
}
