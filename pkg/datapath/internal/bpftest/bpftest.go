package bpftest

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// The results of Charge; enum source_verdict of bpf/sources.h.
const (
	Conforms = iota
	Exceeds
	Untracked
)

// Set is one set of the source table in the kernel.
type Set struct{ objs bpfObjects }

// NewSet loads the programs with an empty set.
func NewSet() (*Set, error) {
	s := &Set{}
	return s, loadBpfObjects(&s.objs, nil)
}

// Charge charges one packet to a source and returns the verdict. Times are ticks.
func (s *Set) Charge(key, now, interval, tolerance uint64) (uint64, error) {
	c := bpfChargeArgs{Key: key, Now: now, Interval: interval, Tolerance: tolerance}
	ret, err := s.objs.Charge.Run(&ebpf.RunOptions{Context: &c, ContextOut: &c})
	if err == nil && ret != 0 {
		err = errors.New("the set's map is missing")
	}
	return c.Verdict, err
}

// Entry is one way of the set.
type Entry struct{ Key, Bucket uint64 }

// Entries returns the set's ways.
func (s *Set) Entries() ([4]Entry, error) {
	var raw bpfWeirSet
	var out [4]Entry
	err := s.objs.Set.Lookup(uint32(0), &raw)
	for i, w := range raw.Ways {
		out[i] = Entry{w.Key, w.Bucket}
	}
	return out, err
}

// Fill replaces the set's ways.
func (s *Set) Fill(ways [4]Entry) error {
	var raw bpfWeirSet
	for i, w := range ways {
		raw.Ways[i].Key, raw.Ways[i].Bucket = w.Key, w.Bucket
	}
	return s.objs.Set.Put(uint32(0), raw)
}

// Hash is source_hash.
func (s *Set) Hash(key, seed0, seed1 uint64) (uint64, error) {
	h := bpfHashArgs{Key: key, Seed0: seed0, Seed1: seed1}
	_, err := s.objs.Hash.Run(&ebpf.RunOptions{Context: &h, ContextOut: &h})
	return h.Value, err
}

// Close unloads the programs.
func (s *Set) Close() error { return s.objs.Close() }

// Enum returns the values of an enum of bpf/abi.h.
func Enum(name string) (map[string]int, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, err
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName(name, &enum); err != nil {
		return nil, err
	}
	values := map[string]int{}
	for _, v := range enum.Values {
		values[v.Name] = int(v.Value)
	}
	return values, nil
}
