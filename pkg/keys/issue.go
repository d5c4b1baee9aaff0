package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/export"
	"github.com/weir-sensor/weir/pkg/trust"
)

// DefaultDays is how long an identity is good for.
const DefaultDays = 90

// Request is for an identity.
type Request struct {
	Role   trust.Role
	Site   string // "" for servers directly under the organisation
	Server string // of the roles of one server
	Label  string
	Hosts  []string // names and addresses of a broker
	Days   int
}

// Issued is a new identity with its secrets, which are kept nowhere else.
type Issued struct {
	trust.Identity
	Password string
	Broker   string // address that its configuration names
	chain    []byte // certificates
	tlsKey   []byte
	signKey  []byte // nil for roles that don't sign
	root     []byte
	trust    []byte
}

// newName has 40 random bits: it is no secret, and unique in a store.
func newName(kind string) string {
	b := make([]byte, 5)
	_, _ = rand.Read(b) // never fails
	return kind + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(b))
}

// Issue makes an identity and enters it into the trust file.
func (s *Store) Issue(r Request, now time.Time) (*Issued, error) {
	id := trust.Identity{
		Name: newName(string(r.Role)), Role: r.Role, Org: s.state.Org, Site: r.Site, Server: r.Server, Label: r.Label,
		NotBefore: now.Add(-backdate).UTC().Truncate(time.Second), NotAfter: now.AddDate(0, 0, r.Days).UTC().Truncate(time.Second),
	}
	if err := errors.Join(r.validate(), id.ValidatePlace()); err != nil {
		return nil, err
	}
	ca, err := s.authorityOf(r.Site, now)
	if err != nil {
		return nil, err
	}
	if id.NotAfter.After(ca.cert.NotAfter) {
		return nil, fmt.Errorf("%d days are longer than the site's authority lasts, until %s", r.Days, ca.cert.NotAfter.Format(time.DateOnly))
	}
	out := &Issued{Broker: s.state.Broker, root: []byte(s.trust.Authority)}
	cert, key, err := ca.leaf(id.Name, id.NotBefore, id.NotAfter, r.Hosts)
	if err != nil {
		return nil, err
	}
	id.Certificate = trust.Sum(cert.Raw)
	out.chain = encodeCertificates(cert, ca.cert)
	if out.tlsKey, err = encodePrivate(key); err != nil {
		return nil, err
	}
	if r.Role != trust.Broker {
		out.Password = rand.Text() + rand.Text() // of 130 random bits each
		id.Password = trust.Sum([]byte(out.Password))
		h, err := export.Hash(out.Password) // of which other brokers' configurations are made
		if err == nil {
			err = export.AddHashes(s.dir, id.Name, h)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.Role.Signs() {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		id.Algorithm, id.Key = trust.Ed25519, base64.StdEncoding.EncodeToString(public)
		if out.signKey, err = encodePrivate(private); err != nil {
			return nil, err
		}
	}
	out.Identity = id
	if len(r.Hosts) > 0 {
		if s.state.Hosts == nil {
			s.state.Hosts = map[string][]string{}
		}
		s.state.Hosts[id.Name] = r.Hosts
	}
	s.trust.Identities = append(s.trust.Identities, id)
	if err := s.save(); err != nil {
		s.trust.Identities = s.trust.Identities[:len(s.trust.Identities)-1]
		return nil, err
	}
	out.trust, err = os.ReadFile(s.TrustFile())
	return out, err
}

func (r Request) validate() error {
	switch {
	case !slices.Contains(trust.Roles, r.Role):
		return fmt.Errorf("there is no role %.32q: give one of %v", r.Role, trust.Roles)
	case r.Role == trust.Broker && len(r.Hosts) == 0:
		return errors.New("a broker has names or addresses that others reach it by: give --host once for each")
	case r.Role != trust.Broker && len(r.Hosts) > 0:
		return fmt.Errorf("a %s has no --host", r.Role)
	case r.Days < 1 || r.Days > 825:
		return fmt.Errorf("%d days: give 1 to 825", r.Days)
	}
	for _, h := range r.Hosts {
		if h == "" || strings.ContainsAny(h, "/: \t\n") && !strings.Contains(h, "::") && strings.Count(h, ":") < 2 {
			return fmt.Errorf("host %.64q: give a name or an address, without a port", h)
		}
	}
	return nil
}

// Rotate makes a successor. Both are good until the old one ends, or for grace at most: time to carry the new one to where it is used.
func (s *Store) Rotate(name string, days int, grace time.Duration, now time.Time) (*Issued, error) {
	i := s.index(name)
	if i < 0 {
		return nil, fmt.Errorf("there is no identity %.64q: weir keys list", name)
	}
	old := s.trust.Identities[i]
	if old.Revoked != nil {
		return nil, fmt.Errorf("%s is revoked: weir keys issue makes another", name)
	}
	out, err := s.Issue(Request{Role: old.Role, Site: old.Site, Server: old.Server, Label: old.Label, Hosts: s.state.Hosts[name], Days: days}, now)
	if err != nil {
		return nil, err
	}
	if end := now.Add(grace).UTC().Truncate(time.Second); end.Before(old.NotAfter) {
		s.trust.Identities[i].NotAfter = end
		if err := s.save(); err != nil {
			return nil, err
		}
		out.trust, err = os.ReadFile(s.TrustFile())
	}
	return out, err
}

// Revoke ends an identity at once, wherever the trust file is read again.
func (s *Store) Revoke(name string, now time.Time) error {
	i := s.index(name)
	switch {
	case i < 0:
		return fmt.Errorf("there is no identity %.64q: weir keys list", name)
	case s.trust.Identities[i].Revoked != nil:
		return fmt.Errorf("%s is revoked already", name)
	}
	when := now.UTC().Truncate(time.Second)
	s.trust.Identities[i].Revoked = &when
	return s.save()
}

func (s *Store) index(name string) int {
	return slices.IndexFunc(s.trust.Identities, func(id trust.Identity) bool { return id.Name == name })
}
