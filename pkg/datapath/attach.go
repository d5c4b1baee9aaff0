package datapath

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/tc"
)

// Options say where to attach and with what.
type Options struct {
	Interface string // in the network namespace of the calling thread
	BPFFS     string // DefaultBPFFS when empty
	Limit     Limit  // in force until a command says otherwise
	Budgets   Budgets
	Sources   int    // capacity of the source table, a power of two
	Version   string // noted for whoever looks
	Tier      string // the only one to try; "" for the best that works

	kernelCookies bool // for tests: as before Linux 6.9
}

// Validate names what is wrong.
func (o Options) Validate() error {
	return errors.Join(o.Limit.Validate(), o.Budgets.Validate(), validateSources(o.Sources))
}

// Attachment is a Reader of the datapath that this process attached or adopted.
type Attachment struct {
	*Reader
	Tier     string
	Adopted  bool // it was there already: counts and limits go on
	Upgraded bool // its program was exchanged for this version's
	Resized  bool // adopted although its table has another size than asked for
	Replies  bool // tc notes what leaves, so that all replies to it are known

	// Why something can't be had here; nil if it can, or if that was found out by an earlier start.
	NoXDP        error // it is attached to tc
	NoChallenge  error // SYNs can't be challenged
	NoOwnCookies error // they can, but by the kernel's cookies alone
	NoWatch      error // why the handshakes that the kernel makes can't be seen; nil if they are
}

// Attach makes sure that the datapath runs on an interface, and pins it so that it outlives the process. One that is
// there is adopted with its counts, sources and limits; a program of another build is exchanged without a gap. A new one
// starts in observe mode. The program of somebody else is never displaced.
func Attach(o Options) (_ *Attachment, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p, err := locate(o.BPFFS, o.Interface)
	if err != nil {
		return nil, err
	}
	if err := ensureBPFFS(p.bpffs); err != nil {
		return nil, err
	}
	lock, err := p.lockNew()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.removeEmpty()
		}
		_ = lock.Close() // only read
	}()

	if others, err := p.otherABIs(); err != nil || len(others) > 0 {
		return nil, errors.Join(err, fmt.Errorf("another version of weir holds %s (%v), and its counts can't be taken over: run `weir unload` first",
			p.iface, others))
	}
	if err := discard(p.staging()); err != nil {
		return nil, fmt.Errorf("clear what an interrupted start left: %w", err)
	}
	a := &Attachment{}
	live, err := p.live()
	switch {
	case err != nil:
		return nil, err
	case live:
		err = a.adopt(p, o)
	default:
		err = a.create(p, o)
	}
	if err == nil {
		err = a.read(p)
	}
	if err != nil && !live {
		err = errors.Join(err, discard(p.dir())) // nobody would know of it
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// read opens the Reader.
func (a *Attachment) read(p place) error {
	r, err := openReader(p)
	if err != nil {
		return err
	}
	info, err := r.Info()
	if err != nil {
		return errors.Join(err, r.Close())
	}
	a.Reader, a.Tier, a.Replies = r, info.Tier, info.Replies
	return nil
}

// live tells whether there are pins that still hold the interface. Pins of an interface that is gone, whose number or
// namespace was given to another one, are removed.
func (p place) live() (bool, error) {
	h, err := openHook(p.dir())
	if errors.Is(err, os.ErrNotExist) {
		return false, discard(p.dir())
	}
	if err != nil {
		return false, explainOpen(p.iface, err)
	}
	ok, err := h.holds(p.ifindex)
	if err = errors.Join(err, h.Close()); err != nil || ok {
		return ok, err
	}
	return false, discard(p.dir())
}

// create loads, attaches and pins, for XDP or else for tc.
func (a *Attachment) create(p place, o Options) error {
	var noXDP error
	if o.Tier != TierTC {
		noXDP = a.createFor(p, o, false)
		if o.Tier != "" || noXDP == nil || !errors.Is(noXDP, ErrNoProgram) {
			return noXDP
		}
		*a = Attachment{NoXDP: noXDP}
	}
	if err := a.createFor(p, o, true); err != nil {
		return errors.Join(noXDP, err)
	}
	return nil
}

// createFor leaves nothing behind of what fails half way: pins are staged, and an unpinned link ends with its file descriptor.
func (a *Attachment) createFor(p place, o Options, tc bool) (err error) {
	c := constants{seed: newSeed(), secret: newSeed(), sources: o.Sources, frags: p.wantsFrags(), note: p.canNote(), netns: p.netns, tc: tc}
	common, err := p.share(&c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeMaps(common)) }()
	var objs *bpfObjects
	var accept link.Link
	if tc {
		a.NoChallenge = fmt.Errorf("%w: tc can't answer them", ErrNoChallenge)
		objs, err = c.load(common)
	} else {
		objs, accept, err = a.loadChallenge(p, &c, common, o.kernelCookies)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objs.Close()) }()
	if accept != nil {
		defer func() { err = errors.Join(err, accept.Close()) }()
	}
	if err := objs.prepare(c, o.Limit, o.Version, time.Now()); err != nil {
		return err
	}
	if err := errors.Join(writeBudgets(objs.Budgets, o.Budgets), p.noteMAC(objs.Control)); err != nil {
		return err
	}
	var note link.Link
	if c.note {
		if note, err = attachNote(p, objs.WeirNote); err != nil {
			return fmt.Errorf("attach tc's program to what leaves by %s: %w", p.iface, err)
		}
		defer func() { err = errors.Join(err, note.Close()) }()
	}
	if tc {
		err = p.holdByTC(objs, note)
	} else {
		err = p.holdByXDP(objs, o.Tier, accept, note)
	}
	if err != nil {
		return err
	}
	a.NoWatch = p.watch(objs)
	return nil
}

// holdByXDP attaches and then pins.
func (p place) holdByXDP(objs *bpfObjects, only string, accept, note link.Link) (err error) {
	l, prog, tier, err := attach(p, objs, only)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := noteTier(objs.Info, tier); err != nil {
		return err
	}
	return p.pin(objs, prog, l, accept, note)
}

// holdByTC pins and then attaches: a filter stays when its process dies.
func (p place) holdByTC(objs *bpfObjects, note link.Link) error {
	if err := errors.Join(p.clearTC(), noteTier(objs.Info, TierTC)); err != nil {
		return err
	}
	if err := p.pin(objs, objs.Weir, nil, nil, note); err != nil {
		return err
	}
	if err := p.attachTC(objs.Weir); err != nil {
		return errors.Join(noProgram{fmt.Errorf("attach to %s: %w", p.iface, err)}, discard(p.dir()))
	}
	return nil
}

// noteMAC tells the datapath which frames are for this host.
func (p place) noteMAC(control *ebpf.Map) error {
	iface, err := net.InterfaceByIndex(p.ifindex)
	if err != nil {
		return err
	}
	raw, err := readControl(control)
	if err != nil {
		return err
	}
	copy(raw.Mac[:], iface.HardwareAddr)
	return writeControl(control, raw) // the generation counts what is commanded
}

func noteTier(m *ebpf.Map, tier string) error {
	raw, err := readInfo(m)
	if err != nil {
		return err
	}
	cString(raw.Tier[:], tier)
	return m.Put(only, raw)
}

// wantsFrags tells whether the driver may insist on the program for frames in several buffers: only beyond what any driver has room
// for in one, 2048 bytes less what goes with the frame. To load it costs as much time as all else.
func (p place) wantsFrags() bool {
	const ethernet = 1500
	iface, err := net.InterfaceByIndex(p.ifindex)
	return err != nil || iface.MTU > ethernet
}

// attach tries the tiers from the fastest, or one only. Drivers refuse native XDP for many reasons and with many errors, so any but a
// clash and missing privilege leads to the next.
func attach(p place, objs *bpfObjects, only string) (link.Link, *ebpf.Program, string, error) {
	var errs []error
	for _, try := range []struct {
		prog  *ebpf.Program
		flags link.XDPAttachFlags
		tier  string
	}{
		{objs.Weir, link.XDPDriverMode, TierNative},
		{objs.WeirFrags, link.XDPDriverMode, TierNative},
		{objs.Weir, link.XDPGenericMode, TierGeneric},
	} {
		if try.prog.Type() != ebpf.XDP || only != "" && only != try.tier {
			continue // left out
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: try.prog, Interface: p.ifindex, Flags: try.flags})
		switch {
		case err == nil:
			return l, try.prog, try.tier, nil
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
			return nil, nil, "", p.clash()
		case errors.Is(err, unix.EPERM):
			return nil, nil, "", fmt.Errorf("attach to %s: not permitted: run as root, or with CAP_NET_ADMIN", p.iface)
		}
		errs = append(errs, err)
	}
	if only != "" {
		return nil, nil, "", noProgram{fmt.Errorf("attach to %s: there is no %s (%w): choose `sensor.tier: auto`", p.iface, only, errs[len(errs)-1])}
	}
	return nil, nil, "", noProgram{fmt.Errorf("attach to %s: neither native nor generic XDP works there (%w): choose another interface",
		p.iface, errs[len(errs)-1])}
}

// clash says who holds the interface. Beside a weir of another BPF file system there is no place in tc either.
func (p place) clash() error {
	err := fmt.Errorf("another XDP program is attached to %s and won't be displaced: "+
		"see it with `ip link show dev %s`, take it off with `ip link set dev %s xdp off`", p.iface, p.iface, p.iface)
	id, idErr := tc.XDPProgram(p.ifindex)
	if idErr != nil {
		return errors.Join(err, idErr)
	}
	prog, idErr := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if idErr != nil {
		return noProgram{err} // it is gone already, or can't be looked at
	}
	defer prog.Close()
	if info, idErr := prog.Info(); idErr == nil && (info.Name == bpfProgWeir || info.Name == bpfProgWeirFrags) {
		return fmt.Errorf("a weir with another BPF file system (--bpffs) holds %s: run its `weir unload` first", p.iface)
	}
	return noProgram{err}
}

// pin makes the pins appear all at once. The link comes last: until it is there, dying undoes everything.
func (p place) pin(objs *bpfObjects, prog *ebpf.Program, l, accept, note link.Link) (err error) {
	dir := p.staging()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("pin to %s: %w", p.dir(), err), discard(dir))
		}
	}()
	type pin struct {
		name string
		pin  func(string) error
	}
	pins := []pin{{pinProgram, prog.Pin}}
	for name, m := range objs.pinned() {
		pins = append(pins, pin{name, m.Pin})
	}
	if accept != nil {
		pins = append(pins, pin{pinAccept, objs.WeirAccept.Pin}, pin{pinAcceptLink, accept.Pin})
	}
	if note != nil {
		pins = append(pins, pin{pinNote, objs.WeirNote.Pin}, pin{pinNoteLink, note.Pin})
	}
	if l != nil {
		pins = append(pins, pin{pinLink, l.Pin})
	}
	for _, x := range pins {
		if err := x.pin(filepath.Join(dir, x.name)); err != nil {
			return err
		}
	}
	return os.Rename(dir, p.dir())
}
