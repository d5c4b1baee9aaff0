package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Info is what is known of an attachment.
type Info struct {
	Interface string
	Tier      string    // TierNative, TierGeneric or TierTC
	Since     time.Time // when the maps were made, and counting began
	Version   string    // of the weir that attached the program
	Sources   int       // the source table's capacity
	Challenge bool      // whether the kernel and the interface can do what the challenge takes

	KernelCookies bool // that is by the kernel's cookies alone
	Replies       bool // whether tc notes what leaves, so that all replies to it are known
}

// The tiers of attachment.
const (
	TierNative  = "xdp-native"  // in the driver, before the kernel has spent anything on the packet
	TierGeneric = "xdp-generic" // after the kernel has built its packet buffer: some ten times slower
	TierTC      = "tc-bpf"      // likewise, where no XDP program can be: it counts and limits, but challenges nobody
)

// Reader reads a pinned datapath. It changes nothing and needs no lock. Its methods may be called from one goroutine at a
// time.
type Reader struct {
	place   place
	control *ebpf.Map
	budgets *ebpf.Map
	info    *ebpf.Map
	cpus    *ebpf.Map
	sources *ebpf.Map

	verified *ebpf.Map
	spoofing *ebpf.Map
	fallback *ebpf.Map

	hook hook

	counters *ebpf.Memory
	talkers  *talkers // nil until asked for
	scratch  []byte
}

var readOnly = &ebpf.LoadPinOptions{ReadOnly: true}

// OpenReader opens the datapath of an interface in the network namespace of the calling thread. It returns an error that
// wraps ErrNotAttached if there is none.
func OpenReader(bpffs, iface string) (*Reader, error) {
	p, err := locate(bpffs, iface)
	if err != nil {
		return nil, err
	}
	return openReader(p)
}

func openReader(p place) (_ *Reader, err error) {
	r := &Reader{place: p}
	defer func() {
		if err != nil {
			err = explainOpen(p.iface, errors.Join(err, r.Close()))
		}
	}()
	if _, err := os.Stat(p.dir()); err != nil { // which kernels without BPF tell as well
		return nil, err
	}
	// The kernel neither maps the memory of maps nor opens links read-only. The pins are root's alone anyway.
	for _, m := range []struct {
		to   **ebpf.Map
		name string
		opts *ebpf.LoadPinOptions
	}{
		{&r.control, bpfMapControl, readOnly}, {&r.budgets, bpfMapBudgets, readOnly}, {&r.info, bpfMapInfo, readOnly},
		{&r.cpus, bpfMapCpus, nil}, {&r.sources, bpfMapSources, nil}, {&r.verified, bpfMapVerified, nil},
		{&r.spoofing, bpfMapSpoofing, readOnly}, {&r.fallback, bpfMapFallback, readOnly},
	} {
		if *m.to, err = ebpf.LoadPinnedMap(filepath.Join(p.dir(), m.name), m.opts); err != nil {
			return nil, err
		}
	}
	if r.hook, err = openHook(p.dir()); err != nil {
		return nil, err
	}
	if r.counters, err = r.cpus.Memory(); err != nil {
		return nil, err
	}
	r.scratch = make([]byte, r.counters.Size())
	return r, nil
}

// Close lets go of the maps; the datapath stays.
func (r *Reader) Close() error {
	var errs []error
	for _, m := range []*ebpf.Map{r.control, r.budgets, r.info, r.cpus, r.sources, r.verified, r.spoofing, r.fallback} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if r.hook != nil {
		errs = append(errs, r.hook.Close())
	}
	return errors.Join(errs...)
}

// checkAttached returns an error that wraps ErrDetached once the program no longer sees packets.
func (r *Reader) checkAttached() error {
	ok, err := r.hook.holds(r.place.ifindex)
	if err != nil {
		return err
	}
	if ok {
		return nil
	}
	if i, err := net.InterfaceByIndex(r.place.ifindex); err == nil && i.Name == r.place.iface {
		return fmt.Errorf("%w from %s: start weir again", ErrUnloaded, r.place.iface)
	}
	return fmt.Errorf("%w: %s is gone: start weir again when it's back", ErrDetached, r.place.iface)
}

// attachedTo tells whether a link still holds its interface: one that was detached, or whose device is gone, has index 0.
func attachedTo(l link.Link, ifindex int) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("query the XDP link: %w", err)
	}
	xdp := info.XDP()
	return xdp != nil && int(xdp.Ifindex) == ifindex, nil
}

const (
	cookiesOffset = 64
	countsOffset  = 320
	cpuBytes      = countsOffset + 16*int(NumClasses)*int(NumVerdicts)*int(NumReasons)
)

// Counters returns the sum over all CPUs. It takes one system call, and wraps ErrDetached when packets pass uncounted.
func (r *Reader) Counters() (Counters, error) {
	if err := r.checkAttached(); err != nil {
		return Counters{}, err
	}
	return r.sum()
}

func (r *Reader) sum() (Counters, error) {
	var sum Counters
	if _, err := r.counters.ReadAt(r.scratch, 0); err != nil {
		return sum, fmt.Errorf("read the counters: %w", err)
	}
	for cpu := range int(r.cpus.MaxEntries()) {
		b := r.scratch[cpu*cpuBytes+countsOffset:]
		for class := range sum {
			for verdict := range sum[class] {
				for reason := range sum[class][verdict] {
					n := &sum[class][verdict][reason]
					n.Packets += binary.NativeEndian.Uint64(b)
					n.Bytes += binary.NativeEndian.Uint64(b[8:])
					b = b[16:]
				}
			}
		}
	}
	return sum, nil
}

// Cookies returns the sum over all CPUs.
func (r *Reader) Cookies() (Cookies, error) {
	var sum Cookies
	if _, err := r.counters.ReadAt(r.scratch, 0); err != nil {
		return sum, fmt.Errorf("read the counters: %w", err)
	}
	for cpu := range int(r.cpus.MaxEntries()) {
		b := r.scratch[cpu*cpuBytes+cookiesOffset:]
		for i, n := range []*uint64{&sum.Accepted, &sum.Refused, &sum.Late, &sum.Reused, &sum.Kernel} {
			*n += binary.NativeEndian.Uint64(b[8*i:])
		}
	}
	return sum, nil
}

// Control returns the state of the control map.
func (r *Reader) Control() (Control, error) {
	raw, err := readControl(r.control)
	if err != nil {
		return Control{}, err
	}
	var auto bpfWeirSpoofing
	if err := r.spoofing.Lookup(only, &auto); err != nil {
		return Control{}, fmt.Errorf("read the spoofing map: %w", err)
	}
	now := monotonicNow()
	c := raw.decode(now)
	c.note(auto, now)
	fallback, err := readFallback(r.fallback)
	if err != nil {
		return Control{}, err
	}
	c.Fallback = fallback.state(now)
	return c, nil
}

// TopSources returns the n sources with the highest SYN rate since the last call, highest first; sources idle since then
// are left out. A call at least once a second keeps the rates exact up to 16 million SYNs per second and source.
func (r *Reader) TopSources(now time.Time, n int) ([]SourceRate, error) {
	raw, err := readControl(r.control)
	if err != nil {
		return nil, err
	}
	if r.talkers == nil {
		table, err := r.sources.Memory()
		if err != nil {
			return nil, fmt.Errorf("map the source table: %w", err)
		}
		r.talkers = newTalkers(table)
	}
	return r.talkers.top(now, monotonicNow()>>tickShift&tickMask, raw, n)
}

// Info returns what the sensor noted when it attached.
func (r *Reader) Info() (Info, error) {
	raw, err := readInfo(r.info)
	if err != nil {
		return Info{}, err
	}
	challenge, err := r.place.canChallenge()
	if err != nil {
		return Info{}, err
	}
	replies, err := r.place.notes()
	if err != nil {
		return Info{}, err
	}
	return Info{
		Interface: r.place.iface,
		Tier:      goString(raw.Tier[:]),
		Since:     time.Unix(int64(raw.Since), 0),
		Version:   goString(raw.Version[:]),
		Sources:   int(r.sources.MaxEntries()) * ways,
		Challenge: challenge,

		KernelCookies: raw.KernelCookies != 0,
		Replies:       replies,
	}, nil
}
