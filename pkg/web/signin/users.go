// Package signin asks people at the page who they are: a name, a password and a second factor. Sessions live in memory; what is on
// disk are hashes.
package signin

import (
	"bytes"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/secretfile"
)

// Role is what somebody may do.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // sees all
	Operator Role = "operator" // commands, too
)

// User is an entry of the file of users.
type User struct {
	Name     string `yaml:"name"`
	Role     Role   `yaml:"role"`
	Password string `yaml:"password"`       // argon2id, as Hash writes it
	TOTP     string `yaml:"totp,omitempty"` // secret in base32 (RFC 6238); empty for none

	Passkeys []Passkey `yaml:"passkeys,omitempty"`
}

const (
	maxFile   = 1 << 20
	maxUsers  = 1000
	minSecret = 16 // bytes: RFC 4226 section 4
)

var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`) })

// ReadUsers reads a file of users that nobody but its owner can read. Errors are one line and begin with the path.
func ReadUsers(path string) ([]User, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !secretfile.Private(path, info) {
		return nil, fmt.Errorf("%s: others than its owner can read or write it: chmod 600 %s", path, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than 1 MiB: is it the right file?", path)
	}
	users, err := ParseUsers(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return users, nil
}

// ParseUsers reads a YAML list of users.
func ParseUsers(text []byte) ([]User, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var users []User
	if err := d.Decode(&users); err != nil && !errors.Is(err, io.EOF) {
		line, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  "), "\n")
		return nil, fmt.Errorf("%.200s: want a list of users with name, role, password, totp and passkeys", strings.TrimPrefix(line, "yaml: "))
	}
	if err := d.Decode(&[]User{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document: want one list of users")
	}
	if len(users) == 0 {
		return nil, errors.New("no users: add one by weir web user add")
	}
	if len(users) > maxUsers {
		return nil, fmt.Errorf("more than %d users", maxUsers)
	}
	seen := map[string]bool{}
	for i, u := range users {
		if err := u.validate(); err != nil {
			return nil, fmt.Errorf("user %d, %.64q: %w", i+1, u.Name, err)
		}
		if seen[u.Name] {
			return nil, fmt.Errorf("user %d: %s is there twice", i+1, u.Name)
		}
		seen[u.Name] = true
	}
	return users, nil
}

func (u User) validate() error {
	if !nameForm().MatchString(u.Name) {
		return errors.New("a name has up to 64 of a to z, 0 to 9, and ._@- inside")
	}
	if u.Role != Viewer && u.Role != Operator {
		return fmt.Errorf("role %.32q is neither %s nor %s", u.Role, Viewer, Operator)
	}
	if _, err := parseHash(u.Password); err != nil {
		return err
	}
	if len(u.Passkeys) > maxPasskeys {
		return fmt.Errorf("more than %d passkeys", maxPasskeys)
	}
	seen := map[string]bool{}
	for _, p := range u.Passkeys {
		if err := p.validate(); err != nil {
			return err
		}
		if seen[p.ID] || seen["named "+p.Name] {
			return fmt.Errorf("passkey %s is there twice", p.Name)
		}
		seen[p.ID], seen["named "+p.Name] = true, true
	}
	if u.TOTP == "" {
		return nil
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(u.TOTP, "="))
	if err != nil || len(secret) < minSecret || len(secret) > 128 {
		return errors.New("totp is no base32 of 16 to 128 bytes")
	}
	return nil
}

// ChangeUsers changes a file of users in one step, one process after the other, and returns what is in it now. Its owner stays. A
// file that isn't there has no users, and is made.
func ChangeUsers(path string, change func([]User) ([]User, error)) (users []User, err error) {
	unlock, err := lock(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("%s can't be changed: %w", path, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	users, err = ReadUsers(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if users, err = change(users); err != nil {
		return nil, err
	}
	return users, writeUsers(path, users)
}

// lock waits for a directory's lock, which leaves no file behind.
func lock(dir string) (unlock func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), d.Close())
	}
	return d.Close, nil
}

func writeUsers(path string, users []User) (err error) {
	text, err := yaml.Marshal(users)
	if err != nil {
		return err
	}
	if _, err := ParseUsers(text); err != nil { // what couldn't be read again
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(keepOwner(path, f), write(f, text)); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func write(f *os.File, text []byte) error {
	_, err := f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// keepOwner gives the new file to the owner of the old one: root changes what weir reads as somebody else.
func keepOwner(path string, f *os.File) error {
	var was unix.Stat_t
	err := unix.Stat(path, &was)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}
