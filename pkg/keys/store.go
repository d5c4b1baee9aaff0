// Package keys makes the identities of weir's components: certificates, signing keys and passwords, and the trust file that says who is
// who. It reads what a component was given, too.
package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/atomicfile"
	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Store is the directory in which an organisation's identities are made. It isn't needed where they are used.
type Store struct {
	dir     string
	rootKey string // file, perhaps on something that is kept elsewhere
	state   state
	trust   trust.File
	unlock  func() error
}

// state is what the store knows beside the trust file.
type state struct {
	Org    string `json:"org"`
	Broker string `json:"broker"` // that configurations name
	Sites  []site `json:"sites"`

	Hosts map[string][]string `json:"hosts,omitempty"` // of the brokers' identities
}

// site has its own authority, whose files bear its name.
type site struct {
	Site      string `json:"site"`
	Authority string `json:"authority"`
}

// The files of a store.
const (
	stateFile = "store.json"
	trustFile = "trust.json"
	rootName  = "root"
)

// Settings of a new store.
type Settings struct {
	Dir     string
	Org     string
	Broker  string // address that configurations name, like tls://broker.bank.example:8883
	RootKey string // file of the root's key; "" for one in Dir
}

// Init makes a store: a root, and the trust file that names it. There must be none yet.
func Init(s Settings, now time.Time) (err error) {
	if err := (wire.Root{Org: s.Org, Server: "any"}).Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	st := &Store{dir: s.Dir, rootKey: s.RootKey}
	if err := st.lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	for _, path := range []string{st.path(stateFile), st.path(trustFile), st.path(rootName + ".crt"), st.rootKeyFile()} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already: weir keys issue goes on with it", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	root, err := newAuthority("weir root of "+s.Org, now, nil)
	if err != nil {
		return err
	}
	if err := st.keep(root, st.path(rootName+".crt"), st.rootKeyFile()); err != nil {
		return err
	}
	st.state = state{Org: s.Org, Broker: s.Broker}
	st.trust = trust.File{Version: 1, Authority: string(encodeCertificates(root.cert)), Identities: []trust.Identity{}}
	return st.save()
}

// Open opens a store. It is locked until Close.
func Open(dir, rootKey string) (_ *Store, err error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		return nil, fmt.Errorf("%w: make one by weir keys init, or name it by --dir", err)
	}
	s := &Store{dir: dir, rootKey: rootKey}
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	text, err := os.ReadFile(s.path(stateFile))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &s.state); err != nil {
		return nil, fmt.Errorf("%s is broken: restore it from a copy", s.path(stateFile))
	}
	t, err := trust.Read(s.path(trustFile))
	if err != nil {
		return nil, err
	}
	s.trust = *t
	return s, nil
}

// Close lets others change the store.
func (s *Store) Close() error { return s.unlock() }

func (s *Store) lock() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", s.dir, err), d.Close())
	}
	s.unlock = d.Close
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Store) rootKeyFile() string {
	if s.rootKey != "" {
		return s.rootKey
	}
	return s.path(rootName + ".key")
}

// TrustFile is the path of the trust file, for brokers and components.
func (s *Store) TrustFile() string { return s.path(trustFile) }

// Identities are all that were ever issued, oldest first.
func (s *Store) Identities() []trust.Identity { return slices.Clone(s.trust.Identities) }

// save writes the trust file last: what it names is there then.
func (s *Store) save() error {
	for _, f := range []struct {
		name string
		v    any
		mode fs.FileMode
	}{{stateFile, s.state, 0o600}, {trustFile, s.trust, 0o644}} {
		text, err := json.MarshalIndent(f.v, "", "  ")
		if err != nil {
			return err
		}
		if err := atomicfile.Write(s.path(f.name), append(text, '\n'), f.mode); err != nil {
			return err
		}
	}
	return nil
}

// keep writes an authority's two files.
func (s *Store) keep(a *authority, certFile, keyFile string) error {
	key, err := encodePrivate(a.key)
	if err != nil {
		return err
	}
	return errors.Join(atomicfile.Write(keyFile, key, 0o600), atomicfile.Write(certFile, encodeCertificates(a.cert), 0o644))
}

// authorityOf is a site's, made by the root if it is the site's first.
func (s *Store) authorityOf(name string, now time.Time) (*authority, error) {
	for _, x := range s.state.Sites {
		if x.Site == name {
			return readAuthority(s.path(x.Authority+".crt"), s.path(x.Authority+".key"))
		}
	}
	root, err := readAuthority(s.path(rootName+".crt"), s.rootKeyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: a new site needs the root's key: name it by --root-key", err)
	}
	if err != nil {
		return nil, err
	}
	who := s.state.Org
	if name != "" {
		who += "/" + name
	}
	a, err := newAuthority("weir authority of "+who, now, root)
	if err != nil {
		return nil, err
	}
	x := site{name, newName("ca")}
	if err := s.keep(a, s.path(x.Authority+".crt"), s.path(x.Authority+".key")); err != nil {
		return nil, err
	}
	s.state.Sites = append(s.state.Sites, x)
	return a, s.save()
}
