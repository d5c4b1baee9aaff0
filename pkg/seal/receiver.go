package seal

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Fresh is how old a command may be, and how far ahead its sender's clock.
const Fresh = 30 * time.Second

// The kinds of refusal.
var (
	ErrUnknown  = errors.New("nobody is known by this key")
	ErrNotYours = errors.New("that key may not say this here")
	ErrReplayed = errors.New("it is an old message again")
	ErrStale    = errors.New("it isn't fresh")
)

// Receiver judges messages. It is safe for use side by side.
type Receiver struct {
	trust func() *trust.File // as it is now
	may   func(id trust.Identity, topic string) error

	mu    sync.Mutex
	marks *marks
	since time.Time // commands from before are refused: nothing is known of that time
}

// NewReceiver returns one. may tells whether an identity may publish on a topic. file keeps the highest numbers of commands over
// restarts; "" is for none. A file that can't be read is the error, beside a receiver that does without: it refuses commands from
// before now, so that a broken disk opens no door and closes none.
func NewReceiver(now time.Time, trusted func() *trust.File, may func(trust.Identity, string) error, file string) (*Receiver, error) {
	m, known, err := readMarks(file)
	r := &Receiver{trust: trusted, may: may, marks: m}
	if !known {
		r.since = now
	}
	return r, err
}

// Verdict is what is known of a message's sender.
type Verdict struct {
	Identity trust.Identity
	Seal     wire.Seal
	Skew     time.Duration // of the sender's clock, less this one's, as far as the message's way lets one tell
	Unnoted  error         // why the number isn't on disk; a full disk must not keep a bank from being protected
}

// Check takes a message once; what a broker retains, and tells again after each connect, as often as it is the last. Error says why it must not be acted on; wire.ErrUnsigned is for the caller's policy.
func (r *Receiver) Check(now time.Time, topic string, payload []byte, retained bool) (Verdict, error) {
	v, err := r.verify(now, topic, payload)
	if err != nil {
		return v, err
	}
	if v.Seal.Will { // it is older than all that was said after the connect, but comes once, too
		topic += "\x00will"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if retained && r.marks.isLast(v.Seal.KeyID, topic, v.Seal.Seq) {
		return v, nil
	}
	return v, r.marks.pass(v.Seal.KeyID, topic, v.Seal.Seq)
}

// CheckCommand is for what changes something: it must be fresh, too, and its number is on disk before it is acted on. Freshness alone
// bounds what a lost file lets in to half a minute.
func (r *Receiver) CheckCommand(now time.Time, topic string, payload []byte) (Verdict, error) {
	v, err := r.verify(now, topic, payload)
	if err != nil {
		return v, err
	}
	switch {
	case v.Skew < -Fresh:
		return v, fmt.Errorf("%w: it is %v old, or its sender's clock is behind this one's", ErrStale, -v.Skew)
	case v.Skew > Fresh:
		return v, fmt.Errorf("%w: its sender's clock is %v ahead of this one's", ErrStale, v.Skew)
	case v.Skew < r.since.Sub(now):
		return v, fmt.Errorf("%w: it is from before this start, and what was carried out then isn't known", ErrStale)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.marks.pass(v.Seal.KeyID, topic, v.Seal.Seq); err != nil {
		return v, err
	}
	v.Unnoted = r.marks.save(topic)
	return v, nil
}

func (r *Receiver) verify(now time.Time, topic string, payload []byte) (Verdict, error) {
	var v Verdict
	var err error
	v.Seal, err = wire.Verify(topic, payload, func(keyID string) (ed25519.PublicKey, error) {
		id, ok := r.trust().Find(keyID)
		if !ok {
			return nil, fmt.Errorf("%w, %.64q", ErrUnknown, keyID)
		}
		v.Identity = id
		return id.PublicKey(), id.Valid(now)
	})
	if err != nil {
		return Verdict{}, err
	}
	if err := r.may(v.Identity, topic); err != nil {
		return v, fmt.Errorf("%w: %w", ErrNotYours, err)
	}
	v.Skew = skew(now, v.Seal.Timestamp)
	return v, nil
}

// skew is bounded: a timestamp may be anything.
func skew(now time.Time, timestamp float64) time.Duration {
	seconds := timestamp - float64(now.UnixMicro())/1e6
	const most = float64(math.MaxInt64 / int64(time.Second) / 2)
	return time.Duration(max(-most, min(most, seconds)) * float64(time.Second)).Round(time.Millisecond)
}
