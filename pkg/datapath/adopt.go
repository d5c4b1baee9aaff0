package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// pinned are the objects of a datapath that is there.
type pinned struct {
	maps map[string]*ebpf.Map
	prog *ebpf.Program
	link link.Link
}

func (p place) open() (_ *pinned, err error) {
	o := &pinned{maps: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			err = explainOpen(p.iface, errors.Join(err, o.close()))
		}
	}()
	for name, pin := range map[string]string{
		bpfMapControl: pinControl, bpfMapSources: pinSources, bpfMapCpus: pinCPUs, bpfMapInfo: pinInfo,
	} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir(), pin), nil)
		if err != nil {
			return nil, err
		}
		o.maps[name] = m
	}
	if o.prog, err = ebpf.LoadPinnedProgram(filepath.Join(p.dir(), pinProgram), nil); err != nil {
		return nil, err
	}
	o.link, err = link.LoadPinnedLink(filepath.Join(p.dir(), pinLink), nil)
	return o, err
}

func (o *pinned) close() error {
	var errs []error
	for _, m := range o.maps {
		errs = append(errs, m.Close())
	}
	errs = append(errs, o.prog.Close()) // nil is fine
	if o.link != nil {
		errs = append(errs, o.link.Close())
	}
	return errors.Join(errs...)
}

// adopt takes over what is pinned, and brings its program up to this version.
func (a *Attachment) adopt(p place, o Options) (err error) {
	old, err := p.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.close()) }()
	info, err := readInfo(old.maps[bpfMapInfo])
	if err != nil {
		return err
	}
	sources := int(old.maps[bpfMapSources].MaxEntries()) * ways
	a.Adopted, a.Resized = true, sources != o.Sources

	objs, err := constants{seed: info.Seed, sources: sources}.load(old.maps)
	if err != nil {
		return fmt.Errorf("adopt the datapath of %s: %w", p.iface, err)
	}
	defer func() { err = errors.Join(err, objs.Close()) }()
	if a.Upgraded, err = p.upgrade(old, objs); err != nil {
		return err
	}
	if a.Upgraded {
		cString(info.Version[:], o.Version)
		if err := old.maps[bpfMapInfo].Put(only, info); err != nil {
			return fmt.Errorf("note the version: %w", err)
		}
	}
	return changeControl(old.maps[bpfMapControl], func(raw *bpfWeirControl) {
		if !raw.decode(monotonicNow()).Enforcing() {
			raw.set(o.Limit) // a limit in force is somebody's command
		}
	})
}

// upgrade exchanges the program if its instructions differ, in one step, and goes back if the pin can't follow.
func (p place) upgrade(old *pinned, objs *bpfObjects) (bool, error) {
	was, err := old.prog.Info()
	if err != nil {
		return false, fmt.Errorf("query the running program: %w", err)
	}
	prog := objs.Weir
	if was.Name == bpfProgWeirFrags {
		prog = objs.WeirFrags
	}
	is, err := prog.Info()
	if err != nil {
		return false, fmt.Errorf("query the new program: %w", err)
	}
	if is.Tag == was.Tag {
		return false, nil
	}
	next := filepath.Join(p.dir(), pinProgram+"-next")
	if err := os.RemoveAll(next); err != nil {
		return false, fmt.Errorf("clear what an interrupted upgrade left: %w", err)
	}
	if err := prog.Pin(next); err != nil {
		return false, fmt.Errorf("pin the new program: %w", err)
	}
	if err := old.link.Update(prog); err != nil {
		return false, errors.Join(fmt.Errorf("exchange the program of %s: %w: the old one stays", p.iface, err), os.Remove(next))
	}
	if err := os.Rename(next, filepath.Join(p.dir(), pinProgram)); err != nil {
		return false, errors.Join(fmt.Errorf("pin the new program: %w: the old one stays", err), old.link.Update(old.prog),
			os.Remove(next))
	}
	return true, nil
}
