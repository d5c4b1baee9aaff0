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
	hook hook

	// nil where our own cookies can't be used
	accept     *ebpf.Program
	acceptLink link.Link

	// nil where tc can't note what leaves
	note     *ebpf.Program
	noteLink link.Link
}

func (p place) open() (_ *pinned, err error) {
	o := &pinned{maps: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			err = explainOpen(p.iface, errors.Join(err, o.close()))
		}
	}()
	for name := range (&bpfMaps{}).pinned() {
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir(), name), nil)
		if err != nil {
			return nil, err
		}
		o.maps[name] = m
	}
	if o.prog, err = ebpf.LoadPinnedProgram(filepath.Join(p.dir(), pinProgram), nil); err != nil {
		return nil, err
	}
	if o.hook, err = openHook(p.dir()); err != nil {
		return nil, err
	}
	if err := o.openNote(p); err != nil {
		return nil, err
	}
	if own, err := p.has(pinAcceptLink); err != nil || !own {
		return o, err
	}
	if o.accept, err = ebpf.LoadPinnedProgram(filepath.Join(p.dir(), pinAccept), nil); err != nil {
		return nil, err
	}
	o.acceptLink, err = link.LoadPinnedLink(filepath.Join(p.dir(), pinAcceptLink), nil)
	return o, err
}

func (o *pinned) close() error {
	errs := []error{closeMaps(o.maps), o.prog.Close(), o.accept.Close(), o.note.Close()} // nil is fine
	if o.hook != nil {
		errs = append(errs, o.hook.Close())
	}
	for _, l := range []link.Link{o.acceptLink, o.noteLink} {
		if l != nil {
			errs = append(errs, l.Close())
		}
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

	running, err := old.prog.Info()
	if err != nil {
		return fmt.Errorf("query the running program: %w", err)
	}
	own := old.acceptLink != nil
	c := constants{seed: info.Seed, secret: info.Secret, sources: sources, challenge: own || info.KernelCookies != 0, accept: own,
		frags: running.Name == bpfProgWeirFrags, note: old.noteLink != nil, netns: p.netns, tc: goString(info.Tier[:]) == TierTC}
	objs, err := c.load(old.maps)
	if err != nil {
		return fmt.Errorf("adopt the datapath of %s: %w", p.iface, err)
	}
	defer func() { err = errors.Join(err, objs.Close()) }()
	if a.Upgraded, err = p.upgradeAll(old, objs); err != nil {
		return err
	}
	if err := restoreStale(old.maps[bpfMapFallback]); err != nil {
		return err
	}
	a.NoWatch = p.watch(objs)
	if a.Upgraded {
		cString(info.Version[:], o.Version)
		if err := old.maps[bpfMapInfo].Put(only, info); err != nil {
			return fmt.Errorf("note the version: %w", err)
		}
	}
	if err := p.noteMAC(old.maps[bpfMapControl]); err != nil {
		return err
	}
	control, err := readControl(old.maps[bpfMapControl])
	if err != nil || control.decode(monotonicNow()).Enforcing() {
		return err // limits in force are somebody's command
	}
	return errors.Join(
		changeControl(old.maps[bpfMapControl], func(raw *bpfWeirControl) { raw.set(o.Limit) }),
		writeBudgets(old.maps[bpfMapBudgets], o.Budgets),
	)
}

// upgradeAll exchanges those that help and then the one that judges, which relies on them, or none.
func (p place) upgradeAll(old *pinned, objs *bpfObjects) (upgraded bool, err error) {
	judge := upgrade{p, pinProgram, old.hook, old.prog, objs.Weir}
	if objs.WeirFrags.Type() == ebpf.XDP {
		judge.is = objs.WeirFrags
	}
	var all, done []upgrade
	if old.noteLink != nil {
		all = append(all, upgrade{p, pinNote, old.noteLink, old.note, objs.WeirNote})
	}
	if old.acceptLink != nil {
		all = append(all, upgrade{p, pinAccept, old.acceptLink, old.accept, objs.WeirAccept})
	}
	for _, u := range append(all, judge) {
		changed, err := u.do()
		if err != nil {
			errs := []error{err}
			for _, u := range done {
				u.was, u.is = u.is, u.was
				_, back := u.do()
				errs = append(errs, back)
			}
			return false, errors.Join(errs...)
		}
		if changed {
			done = append(done, u)
		}
	}
	return len(done) > 0, nil
}

// upgrade is one program's.
type upgrade struct {
	place
	pin string
	at  interface{ Update(*ebpf.Program) error }
	was *ebpf.Program
	is  *ebpf.Program
}

// do exchanges the program if its instructions differ, in one step, and goes back if the pin can't follow.
func (u upgrade) do() (bool, error) {
	was, err := u.was.Info()
	if err != nil {
		return false, fmt.Errorf("query the running program: %w", err)
	}
	is, err := u.is.Info()
	if err != nil {
		return false, fmt.Errorf("query the new program: %w", err)
	}
	if is.Tag == was.Tag {
		return false, nil
	}
	pin := filepath.Join(u.dir(), u.pin)
	next := pin + "-next"
	if err := os.RemoveAll(next); err != nil {
		return false, fmt.Errorf("clear what an interrupted upgrade left: %w", err)
	}
	// By another handle: one that has a pin would move it.
	handle, err := u.is.Clone()
	if err != nil {
		return false, fmt.Errorf("pin the new program: %w", err)
	}
	if err := errors.Join(handle.Pin(next), handle.Close()); err != nil {
		return false, fmt.Errorf("pin the new program: %w", err)
	}
	if err := u.at.Update(u.is); err != nil {
		return false, errors.Join(fmt.Errorf("exchange the program of %s: %w: the old one stays", u.iface, err), os.Remove(next))
	}
	if err := os.Rename(next, pin); err != nil {
		return false, errors.Join(fmt.Errorf("pin the new program: %w: the old one stays", err), u.at.Update(u.was),
			os.Remove(next))
	}
	return true, nil
}
