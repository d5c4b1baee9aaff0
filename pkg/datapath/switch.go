package datapath

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
)

// MaxLease bounds how long a datapath may drop without anybody renewing it.
const MaxLease = 24 * time.Hour

// Switch turns enforcement on and off. It opens the pins anew each time: the datapath may be unloaded and made again
// under it.
type Switch struct {
	bpffs, iface string

	watched *ebpf.Map // the fallback's, between the calls of TendFallback
	until   time.Time // when it is opened anew
}

// NewSwitch returns the switch of an interface in the network namespace of the calling thread. Nothing is opened yet.
func NewSwitch(bpffs, iface string) *Switch { return &Switch{bpffs: bpffs, iface: iface} }

// Enable holds each source to a limit until the lease ends. It wraps ErrNotAttached when there is no datapath.
func (s *Switch) Enable(l Limit, lease time.Duration) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if lease <= 0 || lease > MaxLease {
		return fmt.Errorf("lease of %v: give a time up to %v", lease, MaxLease)
	}
	return s.change(func(raw *bpfWeirControl) {
		raw.set(l)
		raw.UntilNs = monotonicNow() + uint64(lease)
		raw.Mode = modeEnforce
		raw.accept()
	})
}

// Disable lets everything pass. The limit stays, so that what it would have dropped goes on being counted.
func (s *Switch) Disable() error {
	return s.change(func(raw *bpfWeirControl) {
		raw.endAccept(monotonicNow())
		raw.Mode = modeObserve
		raw.UntilNs = 0
	})
}

func (s *Switch) change(f func(*bpfWeirControl)) error {
	return s.open(bpfMapControl, func(m *ebpf.Map) error { return changeControl(m, f) })
}

// open lends a pinned map of a datapath that is there, under the lock.
func (s *Switch) open(name string, f func(*ebpf.Map) error) error {
	return whileLive(s.bpffs, s.iface, func(p place) (err error) {
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir(), name), nil)
		if err != nil {
			return explainOpen(p.iface, err)
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		return f(m)
	})
}

// changeControl is a read, a change and a write: the caller holds the lock.
func changeControl(m *ebpf.Map, f func(*bpfWeirControl)) error {
	raw, err := readControl(m)
	if err != nil {
		return err
	}
	was := raw
	f(&raw)
	if raw == was {
		return nil
	}
	raw.Generation++
	return writeControl(m, raw)
}
