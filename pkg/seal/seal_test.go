package seal

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

const topic = "<103795587>/bank_server/control/command"

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is an operator and those who trust him.
type site struct {
	t     *testing.T
	key   ed25519.PrivateKey
	trust trust.File
	dir   string
}

const alice = "operator-k3v2q2xd"

func newSite(t *testing.T) *site {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	return &site{t: t, key: private, dir: t.TempDir(), trust: trust.File{Version: 1, Identities: []trust.Identity{{
		Name: alice, Role: trust.Operator, Org: "<103795587>", Algorithm: trust.Ed25519, Key: base64.StdEncoding.EncodeToString(public),
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 90),
	}}}}
}

func (s *site) sender(file string) *Sender {
	s.t.Helper()
	if file != "" {
		file = filepath.Join(s.dir, file)
	}
	x, err := NewSender(func() (string, ed25519.PrivateKey) { return alice, s.key }, file, Ahead)
	must(s.t, err)
	return x
}

var errForbidden = errors.New("forbidden")

func (s *site) receiver(at time.Time, file string) *Receiver {
	s.t.Helper()
	r, err := s.tryReceiver(at, file)
	must(s.t, err)
	return r
}

func (s *site) tryReceiver(at time.Time, file string) (*Receiver, error) {
	return NewReceiver(at, func() *trust.File { return &s.trust }, func(_ trust.Identity, on string) error {
		if strings.HasPrefix(on, "<103795587>/") {
			return nil
		}
		return errForbidden
	}, file)
}

func command(at time.Time) []byte {
	return fmt.Appendf(nil, `{"command": "enable_rate_limiting", "timestamp": %.6f}`, float64(at.UnixMicro())/1e6)
}

func (s *site) sign(x *Sender, at time.Time) []byte {
	s.t.Helper()
	b, err := x.Sign(at, topic, command(at))
	must(s.t, err)
	return b
}

func TestOnceOnly(t *testing.T) {
	s := newSite(t)
	marks := filepath.Join(s.dir, "seen")
	x, r := s.sender(""), s.receiver(now, marks)
	first, second, third := s.sign(x, now), s.sign(x, now), s.sign(x, now)
	for i, c := range []struct {
		message []byte
		want    error
	}{{first, nil}, {first, ErrReplayed}, {third, nil}, {second, ErrReplayed}, {third, ErrReplayed}} {
		v, err := r.CheckCommand(now, topic, c.message)
		if !errors.Is(err, c.want) || v.Unnoted != nil || v.Identity.Name != alice {
			t.Errorf("%d: %+v, %v", i, v, err)
		}
	}
	r = s.receiver(now.Add(time.Second), marks) // a new process
	for i, m := range [][]byte{first, second, third} {
		if _, err := r.CheckCommand(now.Add(time.Second), topic, m); !errors.Is(err, ErrReplayed) {
			t.Errorf("%d, after a restart: %v", i, err)
		}
	}
	if _, err := r.CheckCommand(now.Add(2*time.Second), topic, s.sign(x, now)); err != nil { // sent while nobody was there
		t.Error(err)
	}
	other := strings.Replace(topic, "bank_server", "other", 1)
	if _, err := r.CheckCommand(now, other, first); err == nil {
		t.Error("good on another topic")
	}
}

func TestRefused(t *testing.T) {
	s := newSite(t)
	x, r := s.sender(""), s.receiver(now.Add(-time.Hour), "")
	for _, c := range []struct {
		at   time.Duration
		want error
		says string
	}{
		{-Fresh, nil, ""}, {Fresh, nil, ""}, {-Fresh - time.Second, ErrStale, "31s old"}, {Fresh + time.Second, ErrStale, "31s ahead"},
		{-time.Hour, ErrStale, "1h0m0s old"}, {time.Hour, ErrStale, "1h0m0s ahead"},
	} {
		_, err := r.CheckCommand(now, topic, s.sign(x, now.Add(c.at)))
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("sent %v from now: %v", c.at, err)
		}
	}
	elsewhere, err := x.Sign(now, "public/x", command(now))
	must(t, err)
	if _, err := r.CheckCommand(now, "public/x", elsewhere); !errors.Is(err, ErrNotYours) || !errors.Is(err, errForbidden) {
		t.Errorf("elsewhere: %v", err)
	}
	if _, err := r.CheckCommand(now, topic, command(now)); !errors.Is(err, wire.ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	m := s.sign(x, now)
	for name, c := range map[string]struct {
		change func(*trust.Identity)
		says   string
	}{
		"revoked":  {func(id *trust.Identity) { when := now; id.Revoked = &when }, "revoked"},
		"ended":    {func(id *trust.Identity) { id.NotAfter = now.Add(-time.Second) }, "ended"},
		"unknown":  {func(id *trust.Identity) { id.Name = "operator-aaaaaaaa" }, ErrUnknown.Error()},
		"no key":   {func(id *trust.Identity) { id.Key = "" }, "doesn't fit"},
		"not his":  {func(id *trust.Identity) { id.Key = base64.StdEncoding.EncodeToString(make([]byte, 32)) }, "doesn't fit"},
		"too soon": {func(id *trust.Identity) { id.NotBefore = now.Add(time.Second) }, "clock"},
	} {
		was := s.trust.Identities[0]
		c.change(&s.trust.Identities[0])
		if _, err := r.CheckCommand(now, topic, m); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		s.trust.Identities[0] = was
	}
	if _, err := r.CheckCommand(now, topic, m); err != nil {
		t.Errorf("what was refused for another reason is spent: %v", err)
	}
}

// Metrics and states may be old; each is taken once, in order.
func TestOthersMayBeOld(t *testing.T) {
	s := newSite(t)
	x, r := s.sender(""), s.receiver(now, "")
	first, second := s.sign(x, now.Add(-time.Hour)), s.sign(x, now.Add(-time.Hour))
	if v, err := r.Check(now, topic, second, false); err != nil || v.Skew != -time.Hour {
		t.Errorf("%v, %v", v.Skew, err)
	}
	for _, m := range [][]byte{first, second} {
		if _, err := r.Check(now, topic, m, false); !errors.Is(err, ErrReplayed) {
			t.Error(err)
		}
	}
	if _, err := r.Check(now, topic, second, true); err != nil {
		t.Errorf("the last one, retained: %v", err)
	}
	if _, err := r.Check(now, topic, first, true); !errors.Is(err, ErrReplayed) {
		t.Errorf("an older one, retained: %v", err)
	}
}

// A last will was signed before all that its sender said after the connect: it is believed all the same, once.
func TestWills(t *testing.T) {
	s := newSite(t)
	r := s.receiver(now.Add(-time.Hour), "")
	x := s.sender("")
	say := func(payload string) []byte {
		b, err := x.Sign(now, topic, []byte(payload))
		must(t, err)
		return b
	}
	will, later := say(`{"state":"offline","will":true}`), say(`{"state":"online"}`)
	next := say(`{"state":"offline","will":true}`)
	for i, c := range []struct {
		payload  []byte
		retained bool
		good     bool
	}{{later, false, true}, {will, false, true}, {will, true, true}, {will, false, false}, {later, false, false}, {next, false, true}, {will, true, false}} {
		if _, err := r.Check(now, topic, c.payload, c.retained); (err == nil) != c.good {
			t.Errorf("message %d: %v", i, err)
		}
	}
	altered := []byte(strings.Replace(string(later), "{", `{"will":true,`, 1))
	if _, err := r.Check(now, topic, altered, false); err == nil {
		t.Error("another message is made a will")
	}
}

func TestNumbersGoOn(t *testing.T) {
	s := newSite(t)
	r := s.receiver(now.Add(-time.Hour), "")
	x := s.sender("seq")
	seq := func(x *Sender, at time.Time) uint64 {
		v, err := r.Check(now, topic, s.sign(x, at), false)
		must(t, err)
		return v.Seal.Seq
	}
	first := seq(x, now)
	if first != uint64(now.UnixMicro()) {
		t.Errorf("number %d", first)
	}
	seq(x, now)
	seq(x, now.Add(-time.Hour)) // the clock is set back
	seq(x, now.Add(59*time.Second))
	again := s.sender("seq")
	if n := seq(again, now.Add(-time.Hour)); n <= first+uint64(59*time.Second/time.Microsecond) {
		t.Errorf("after a restart and with the clock set back: %d", n)
	}
	// Somebody's own: after a restart it goes on at once, and another machine's is believed, too.
	who := func() (string, ed25519.PrivateKey) { return alice, s.key }
	for i := range 3 {
		x, err := NewSender(who, filepath.Join(s.dir, "own"), 0)
		must(t, err)
		if b, err := x.Sign(now, "another", command(now)); err != nil {
			t.Error(err)
		} else if v, err := wire.Verify("another", b, func(string) (ed25519.PublicKey, error) { return s.key.Public().(ed25519.PublicKey), nil }); err != nil || v.Seq != first+uint64(i) {
			t.Errorf("number %d, %v", v.Seq, err)
		}
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "seq"), []byte("x"), 0o600))
	if _, err := NewSender(nil, filepath.Join(s.dir, "seq"), Ahead); err == nil {
		t.Error("a broken file is read")
	}
	// The disk is full: signed all the same.
	x, err := NewSender(who, filepath.Join(s.dir, "none", "seq"), Ahead)
	must(t, err)
	if b, err := x.Sign(now, topic, command(now)); b == nil || err == nil {
		t.Errorf("%s, %v", b, err)
	}
}

func TestNumbersAreUniqueSideBySide(t *testing.T) {
	s := newSite(t)
	x := s.sender("seq")
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				b, err := x.Sign(now, topic, command(now))
				must(t, err)
				v, err := wire.Verify(topic, b, func(string) (ed25519.PublicKey, error) { return s.key.Public().(ed25519.PublicKey), nil })
				must(t, err)
				mu.Lock()
				if seen[v.Seq] {
					t.Errorf("number %d twice", v.Seq)
				}
				seen[v.Seq] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// A broken or a full disk opens no door to old commands, and closes none to new ones.
func TestBrokenDisk(t *testing.T) {
	s := newSite(t)
	marks := filepath.Join(s.dir, "seen")
	x := s.sender("")
	old := s.sign(x, now.Add(-time.Second))
	must(t, os.WriteFile(marks, []byte("{"), 0o600))
	r, err := s.tryReceiver(now, marks)
	if err == nil || strings.Contains(err.Error(), "\n") && !strings.Contains(err.Error(), "seen") {
		t.Errorf("broken: %v", err)
	}
	if _, err := os.Stat(marks + ".broken"); err != nil {
		t.Error(err)
	}
	if _, err := r.CheckCommand(now, topic, old); !errors.Is(err, ErrStale) {
		t.Errorf("from before the start: %v", err)
	}
	m := s.sign(x, now)
	if v, err := r.CheckCommand(now, topic, m); err != nil || v.Unnoted != nil {
		t.Errorf("%v, %v", v.Unnoted, err)
	}
	r = s.receiver(now, filepath.Join(s.dir, "none", "seen"))
	if v, err := r.CheckCommand(now, topic, m); err != nil || v.Unnoted == nil {
		t.Errorf("a disk that takes nothing: %v, %v", v.Unnoted, err)
	}
	if _, err := r.CheckCommand(now, topic, m); !errors.Is(err, ErrReplayed) {
		t.Errorf("known all the same: %v", err)
	}
}

func FuzzMarks(f *testing.F) {
	f.Add(`{"a/b":{"operator-k3v2q2xd":5}}`)
	f.Add(`null`)
	f.Add(`{"a":{"b":9007199254740992}}`)
	f.Fuzz(func(t *testing.T, text string) {
		seen, err := parseMarks([]byte(text))
		if (seen == nil) == (err == nil) {
			t.Errorf("%v, %v", seen, err)
		}
	})
}
