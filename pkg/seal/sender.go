// Package seal keeps messages from being forged, altered, moved and replayed: senders number and sign them, and receivers take each
// once, from whoever may say it.
package seal

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/atomicfile"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Sender signs for one component at a time. It is safe for use side by side.
type Sender struct {
	who   func() (keyID string, key ed25519.PrivateKey) // as it is now
	file  string
	ahead uint64

	mu       sync.Mutex
	last     uint64
	reserved uint64 // numbers up to here are ours, also after a restart
}

// Ahead is for components: how far the file is ahead of the numbers, so that it is written once a minute and not with each message.
// Numbers are microseconds of Unix time, or one more than the last if that is higher: a clock that is set back, or a lost file alone,
// repeats none.
const Ahead = time.Minute

// NewSender returns one. file keeps what a restart must not forget; it is made when it is needed, and "" is for none. ahead is Ahead, or 0
// for people: their numbers never run ahead of the clock, so that they may use an identity on two machines.
func NewSender(who func() (string, ed25519.PrivateKey), file string, ahead time.Duration) (*Sender, error) {
	s := &Sender{who: who, file: file, ahead: uint64(ahead.Microseconds())}
	if file == "" {
		return s, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.last, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || s.last >= wire.MaxSeq {
		return nil, errors.New(file + " holds no sequence number: remove it if this clock is right and was never ahead")
	}
	s.reserved = s.last
	return s, nil
}

// Sign numbers and signs a payload, and gives it a timestamp if it has none. An error of the file is returned beside the signed payload, which is good: after a restart with a
// clock that is set back, receivers might refuse others.
func (s *Sender) Sign(now time.Time, topic string, payload []byte) (signed []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if payload, err = wire.Stamp(payload, now); err != nil {
		return nil, err
	}
	keyID, key := s.who()
	seq := max(s.last+1, uint64(now.UnixMicro()))
	signed, err = wire.Sign(topic, payload, keyID, seq, key)
	if err != nil {
		return nil, err
	}
	s.last = seq
	if s.file == "" || seq <= s.reserved {
		return signed, nil
	}
	s.reserved = seq + s.ahead
	return signed, atomicfile.Write(s.file, strconv.AppendUint(nil, s.reserved, 10), 0o600)
}
