package export

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/weir-sensor/weir/pkg/atomicfile"
)

// HashesFile is in the keys' folder, beside the secrets: names to Hashes, in JSON.
const HashesFile = "hashes.json"

// Hashes are a broker password's, in the forms that brokers know. The embedded broker has its own, in the trust file.
type Hashes struct {
	PBKDF2 string `json:"pbkdf2_sha512"` // mosquitto's form: $7$ITERATIONS$SALT$HASH
	Bcrypt string `json:"bcrypt"`        // of NATS and EMQX: $2a$COST$…
}

// Nobody guesses 256 random bits, however fast he is: more rounds would only keep the broker busy when all clients come back at once.
const (
	rounds     = 101 // as mosquitto_passwd
	saltBytes  = 12
	bcryptCost = bcrypt.MinCost
)

// Hash makes the hashes of a password that is random: 22 characters at least, 72 at most.
func Hash(password string) (Hashes, error) {
	if len(password) < 22 || len(password) > 72 {
		return Hashes{}, errors.New("hash a password: want 22 to 72 random characters")
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	key, err := pbkdf2.Key(sha512.New, password, salt, rounds, sha512.Size)
	if err != nil {
		return Hashes{}, fmt.Errorf("hash a password: %w", err)
	}
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcryptCost)
	if err != nil {
		return Hashes{}, fmt.Errorf("hash a password: %w", err)
	}
	in := base64.StdEncoding.EncodeToString
	return Hashes{PBKDF2: "$7$" + strconv.Itoa(rounds) + "$" + in(salt) + "$" + in(key), Bcrypt: string(b)}, nil
}

// What a hash looks like: it goes into other programs' files as it is.
var (
	pbkdf2Form = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\$7\$[0-9]{1,7}\$[A-Za-z0-9+/=]{8,64}\$[A-Za-z0-9+/=]{64,128}$`)
	})
	bcryptForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[A-Za-z0-9./]{53}$`) })
)

func (h Hashes) validate() error {
	if !pbkdf2Form().MatchString(h.PBKDF2) || !bcryptForm().MatchString(h.Bcrypt) {
		return errors.New("that is no hash of mosquitto's form or no bcrypt")
	}
	return nil
}

// ReadHashes reads the file of hashes in the keys' folder, all of it or nothing.
func ReadHashes(dir string) (map[string]Hashes, error) {
	path := filepath.Join(dir, HashesFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s isn't there: weir keys issue makes it, in the folder of the keys", path)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]Hashes{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s: no file of hashes: %w", path, err)
	}
	return all, nil
}

// AddHashes puts an identity's hashes into the file in the keys' folder, which it makes if there is none. The file is replaced at
// once or not at all; two at a time must not.
func AddHashes(dir, name string, h Hashes) error {
	if err := h.validate(); err != nil {
		return fmt.Errorf("hashes of %s: %w", name, err)
	}
	path := filepath.Join(dir, HashesFile)
	all := map[string]Hashes{}
	if _, err := os.Stat(path); err == nil {
		if all, err = ReadHashes(dir); err != nil {
			return err
		}
	}
	all[name] = h
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'), 0o600)
}

// WriteFiles writes what a broker is given into a folder, which it makes if there is none. They hold hashes: only their owner may
// read them.
func WriteFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := atomicfile.Write(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
