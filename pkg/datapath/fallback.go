package datapath

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// fallbackHold is how long the fallback goes on after the last packet that wanted it.
	fallbackHold = 10 * time.Second

	// fallbackLease is how long it goes on without anybody tending it.
	fallbackLease = time.Minute

	// fallbackGrace is how long timestamps stay readable for handshakes under way, once no cookies are made that need it.
	fallbackGrace = 3 * time.Second
)

// TendFallback lets XDP answer SYNs by the kernel's own cookies as long as it meets listeners under challenge that take no
// others: MPTCP's, or before Linux 6.9 any. It changes net.ipv4.tcp_syncookies and tcp_timestamps of the calling thread's network namespace to 2 for
// that, and puts them back afterwards; what somebody else sets meanwhile stays. Call it a few times a second, from one goroutine: while
// there is nothing to do it only reads a map, and looks for a datapath that was made anew once a second. It wraps
// ErrNoFallback where the settings can't be had: SYNs to those listeners are left to the kernel then.
func (s *Switch) TendFallback() error {
	if s.idle() {
		return nil
	}
	var refused error
	err := s.open(bpfMapFallback, func(m *ebpf.Map) error {
		raw, err := readFallback(m)
		if err != nil {
			return err
		}
		if refused, err = tend(m, raw, monotonicNow()); err != nil {
			return err
		}
		s.until = time.Now().Add(watchFor)
		s.watched, err = m.Clone()
		return err
	})
	return errors.Join(err, refused)
}

const watchFor = time.Second

// idle tells whether nothing is wanted, and nothing has to be put back. A map that was watched for long is given up.
func (s *Switch) idle() bool {
	if s.watched == nil {
		return false
	}
	raw, err := readFallback(s.watched)
	if err == nil && time.Now().Before(s.until) && raw.UntilNs|raw.EndedNs|uint64(raw.Refused) == 0 && !raw.changed() && !raw.wanted(monotonicNow()) {
		return true
	}
	_ = s.watched.Close() // it was only read
	s.watched = nil
	return false
}

// EndFallback puts the settings back at once. SYNs to those listeners are left to the kernel until somebody tends the fallback.
func (s *Switch) EndFallback() error {
	return s.open(bpfMapFallback, func(m *ebpf.Map) error {
		raw, err := readFallback(m)
		if err != nil || !raw.changed() && raw.UntilNs == 0 {
			return err
		}
		raw.UntilNs, raw.EndedNs = 0, 0
		return errors.Join(writeFallback(m, raw), restore(m, 0))
	})
}

// tend is one step; the caller holds the lock.
func tend(m *ebpf.Map, raw bpfWeirFallback, now uint64) (refused, err error) {
	save := func() error { return writeFallback(m, raw) }
	switch {
	case raw.wanted(now) && raw.Refused != 0:
		return nil, nil // said already
	case raw.wanted(now) && raw.UntilNs != 0 && !settingsHold():
		// Whoever changed them meant it.
		raw.UntilNs, raw.Refused = 0, 1
		err := save()
		return fmt.Errorf("%w: somebody has changed tcp_syncookies or tcp_timestamps", ErrNoFallback), errors.Join(err, restore(m, 0))
	case raw.wanted(now):
		refused, err := raw.arm(m)
		if refused != nil || err != nil {
			raw.UntilNs, raw.Refused = 0, 1
			return refused, errors.Join(err, save(), restore(m, 0))
		}
		raw.UntilNs, raw.EndedNs = now+uint64(fallbackLease), 0
		return nil, save()
	case !raw.changed():
		if raw.UntilNs|raw.EndedNs|uint64(raw.Refused) == 0 {
			return nil, nil
		}
		raw.UntilNs, raw.EndedNs, raw.Refused = 0, 0, 0
		return nil, save()
	case raw.EndedNs == 0:
		raw.UntilNs, raw.EndedNs = 0, now
		return nil, errors.Join(save(), restore(m, fallbackGrace))
	case now-raw.EndedNs > uint64(fallbackGrace):
		return nil, restore(m, 0)
	}
	return nil, nil
}

func (raw bpfWeirFallback) wanted(now uint64) bool {
	return raw.WantedNs != 0 && now < raw.WantedNs+uint64(fallbackHold)
}

func (raw bpfWeirFallback) state(now uint64) Fallback {
	switch {
	case raw.UntilNs > now:
		return FallbackOn
	case raw.Refused != 0 && raw.wanted(now):
		return FallbackRefused
	}
	return FallbackIdle
}

func (raw bpfWeirFallback) changed() bool { return raw.Syncookies|raw.Timestamps != 0 }

// arm changes the settings. What they were is noted first: the process may die at any point.
func (raw *bpfWeirFallback) arm(m *ebpf.Map) (refused, err error) {
	if raw.Netns, err = netnsCookie(); err != nil {
		return nil, err
	}
	for _, s := range raw.settings() {
		now, err := readSysctl(s.path())
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoFallback, err), nil
		}
		if now == settingForFallback {
			continue
		}
		if now != 1 { // somebody's decision against cookies, or timestamps
			return fmt.Errorf("%w while net.ipv4.%s is %d: they would be with 1 or 2", ErrNoFallback, s.name, now), nil
		}
		*s.was = uint32(now) + 1
		if err := writeFallback(m, *raw); err != nil {
			return nil, err
		}
		if err := s.write(settingForFallback); err != nil {
			return fmt.Errorf("%w: %w", ErrNoFallback, err), nil
		}
	}
	return nil, nil
}

// restore puts the settings back, if they are this namespace's and as weir has made them. With a grace it leaves timestamps alone.
func restore(m *ebpf.Map, grace time.Duration) error {
	raw, err := readFallback(m)
	if err != nil || !raw.changed() {
		return err
	}
	here, err := netnsCookie()
	if err != nil {
		return err
	}
	if here != raw.Netns {
		return nil // of a namespace that is gone, or somewhere else
	}
	var errs []error
	for _, s := range raw.settings() {
		if *s.was == 0 || s.late && grace > 0 {
			continue
		}
		now, err := readSysctl(s.path())
		if err == nil && now == settingForFallback {
			err = s.write(uint64(*s.was - 1))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("put net.ipv4.%s back to %d: %w", s.name, *s.was-1, err))
			continue
		}
		*s.was = 0
	}
	if !raw.changed() {
		raw.EndedNs = 0
	}
	raw.UntilNs = 0
	return errors.Join(append(errs, writeFallback(m, raw))...)
}

// restoreStale puts back what a process that died has changed, unless the flood still goes on: then whoever tends it does.
func restoreStale(m *ebpf.Map) error {
	raw, err := readFallback(m)
	if err != nil || raw.wanted(monotonicNow()) {
		return err
	}
	return restore(m, 0)
}

// restorePinned puts back at once what the fallback of a datapath has changed that is about to go.
func restorePinned(dir string) (err error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, bpfMapFallback), nil)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	raw, err := readFallback(m)
	if err != nil || !raw.changed() {
		return err
	}
	return inNetns(raw.Netns, func() error { return restore(m, 0) })
}

func readFallback(m *ebpf.Map) (bpfWeirFallback, error) {
	var raw bpfWeirFallback
	if err := m.Lookup(only, &raw); err != nil {
		return raw, fmt.Errorf("read the fallback map: %w", err)
	}
	return raw, nil
}

// writeFallback may undo what XDP has just noted as wanted; it notes that again with the next packet.
func writeFallback(m *ebpf.Map, raw bpfWeirFallback) error {
	if err := m.Put(only, raw); err != nil {
		return fmt.Errorf("write the fallback map: %w", err)
	}
	return nil
}
