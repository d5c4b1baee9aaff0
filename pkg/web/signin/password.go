package signin

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"sync"

	"golang.org/x/crypto/argon2"
)

// The parameters are the second choice of RFC 9106 section 4, for machines with other work than this.
const (
	passes      = 3
	memoryKiB   = 64 << 10
	lanes       = 4
	saltBytes   = 16
	keyBytes    = 32
	maxPasses   = 10
	maxMemory   = 256 << 10 // KiB
	minMemory   = 8 << 10
	maxLanes    = 16
	maxPassword = 256 // bytes
	minPassword = 12  // characters: NIST SP 800-63B asks for 8 with, 15 without a second factor
)

// hash is argon2id's.
type hash struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

var hashForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{22,86})\$([A-Za-z0-9+/]{43,86})$`)
})

// Hash makes the entry for a password, with a salt from random.
func Hash(password string, random io.Reader) (string, error) {
	if n := len([]rune(password)); n < minPassword || len(password) > maxPassword {
		return "", fmt.Errorf("a password has %d characters at least, and %d bytes at most", minPassword, maxPassword)
	}
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", err
	}
	return hash{memory: memoryKiB, passes: passes, lanes: lanes, salt: salt}.encode(password), nil
}

// encode makes the entry for a password.
func (h hash) encode(password string) string {
	key := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, keyBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.passes, h.lanes, b64.EncodeToString(h.salt), b64.EncodeToString(key))
}

// parseHash reads an entry. Its bounds keep a file's mistake from costing gigabytes at each attempt, or nothing.
func parseHash(s string) (hash, error) {
	m := hashForm().FindStringSubmatch(s)
	if m == nil {
		return hash{}, errors.New("password is no argon2id hash: make one by weir web user add")
	}
	number := func(i int) uint32 {
		n, _ := strconv.ParseUint(m[i], 10, 32) // a few digits
		return uint32(n)
	}
	h := hash{memory: number(1), passes: number(2), lanes: uint8(number(3))}
	if h.memory < minMemory || h.memory > maxMemory || h.passes < 1 || h.passes > maxPasses || h.lanes < 1 || h.lanes > maxLanes {
		return hash{}, fmt.Errorf("password's argon2id takes m=%d to %d, t=1 to %d, p=1 to %d", minMemory, maxMemory, maxPasses, maxLanes)
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(m[4]); err != nil {
		return hash{}, errors.New("password's salt is broken")
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(m[5]); err != nil {
		return hash{}, errors.New("password's hash is broken")
	}
	return h, nil
}

func (h hash) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}
