package datapath

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

// The source table's size, in sources. The default, 256 KiB, stays in a server core's L2 cache beside the packets, also
// when another hyperthread takes half of it.
const (
	DefaultSources = 16384
	MinSources     = 1024
	MaxSources     = 1 << 24
)

func validateSources(n int) error {
	if n < MinSources || n > MaxSources || n&(n-1) != 0 {
		return fmt.Errorf("source table of %d entries: give a power of two from %d to %d", n, MinSources, MaxSources)
	}
	return nil
}

// constants are what the verifier sees as fixed. A program over existing maps needs those that the maps were made for.
type constants struct {
	seed      [2]uint64
	secret    [2]uint64 // of the cookies
	sources   int
	challenge bool   // load what it takes to challenge
	accept    bool   // tc takes our own cookies; else only the kernel's are made
	frags     bool   // load the program for frames in several buffers, too
	note      bool   // tc notes what leaves
	tc        bool   // for tc, not for XDP
	netns     uint32 // whose connections to watch, by the tracepoint; 0 for none
	benchDrop bool   // for benchmarks: see bench_drop in bpf/weir.bpf.c
}

func newSeed() (seed [2]uint64) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return [2]uint64{binary.NativeEndian.Uint64(b[:]), binary.NativeEndian.Uint64(b[8:])}
}

// spec returns the collection with its constants and sizes set; tracking says whether it may ask connection tracking.
func (c constants) spec(tracking bool) (*ebpf.CollectionSpec, error) {
	load := loadBpf
	if c.tc {
		load = loadTc
	}
	spec, err := load()
	if err != nil {
		return nil, err
	}
	if c.tc {
		spec.Programs[bpfProgWeirFrags] = &ebpf.ProgramSpec{Name: bpfProgWeirFrags, License: "Dual BSD/GPL"}
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count the CPUs: %w: is /sys mounted?", err)
	}
	sets := uint32(c.sources / ways)
	spec.Maps[bpfMapCpus].MaxEntries = uint32(cpus)
	spec.Maps[bpfMapSources].MaxEntries = sets
	spec.Maps[bpfMapVerified].MaxEntries = sets
	if !c.accept {
		leaveOut(spec.Programs[bpfProgWeirAccept])
	}
	if !c.frags || c.tc {
		leaveOut(spec.Programs[bpfProgWeirFrags])
	}
	if c.netns == 0 {
		leaveOut(spec.Programs[bpfProgWeirEstablished])
		leaveOut(spec.Programs[bpfProgWeirOpen])
	}
	if !tracking {
		stripTracking(spec)
	}
	var vars bpfVariableSpecs
	if err := spec.Assign(&vars); err != nil {
		return nil, err
	}
	return spec, errors.Join(
		vars.Seed0.Set(c.seed[0]),
		vars.Seed1.Set(c.seed[1]),
		vars.SetMask.Set(sets-1),
		vars.BenchDrop.Set(c.benchDrop),
		vars.Secret.Set(sipStart(c.secret)),
		vars.CanChallenge.Set(c.challenge),
		vars.CanAccept.Set(c.accept),
		vars.CanNote.Set(c.note),
		vars.CanTrack.Set(tracking),
		vars.Netns.Set(c.netns),
	)
}

// leaveOut makes a program that any kernel loads of one that it may lack something for. It is never attached.
func leaveOut(p *ebpf.ProgramSpec) {
	p.Type, p.AttachType, p.AttachTo = ebpf.SocketFilter, ebpf.AttachNone, ""
	p.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

// load loads the programs over maps, or over new ones where maps is nil. Without the tracepoint if that is what can't be
// loaded: kernels without BTF for it, or privilege without CAP_PERFMON.
func (c constants) load(maps map[string]*ebpf.Map) (*bpfObjects, error) {
	objs, err := c.loadAll(maps)
	if err != nil && c.netns != 0 && !isTransient(err) {
		c.netns = 0
		objs, err = c.loadAll(maps)
	}
	return objs, err
}

// loadAll does without connection tracking where the kernel doesn't let BPF ask it.
func (c constants) loadAll(maps map[string]*ebpf.Map) (*bpfObjects, error) {
	objs, err := c.loadWith(maps, true)
	if err == nil || isTransient(err) {
		return objs, err
	}
	if objs, e := c.loadWith(maps, false); e == nil {
		return objs, nil
	}
	return nil, err
}

func (c constants) loadWith(maps map[string]*ebpf.Map, tracking bool) (*bpfObjects, error) {
	// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK. Where it can't be raised the load itself tells whether it had to.
	_ = rlimit.RemoveMemlock()
	spec, err := c.spec(tracking)
	if err != nil {
		return nil, err
	}
	objs := &bpfObjects{}
	if err := spec.LoadAndAssign(objs, &ebpf.CollectionOptions{MapReplacements: maps}); err != nil {
		return nil, explainLoad(err)
	}
	return objs, nil
}

// prepare gives new maps their first content: observe, nothing dropped.
func (o *bpfObjects) prepare(c constants, l Limit, version string, now time.Time) error {
	control := bpfWeirControl{Mode: modeObserve, Generation: 1}
	control.set(l)
	info := bpfWeirInfo{Seed: c.seed, Secret: c.secret, Since: uint64(now.Unix())}
	if c.challenge && !c.accept {
		info.KernelCookies = 1
	}
	cString(info.Version[:], version)
	return errors.Join(writeControl(o.Control, control), o.Info.Put(only, info))
}
