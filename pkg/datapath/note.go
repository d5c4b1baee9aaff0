package datapath

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// tcxNext leaves the packet to whoever comes next.
const tcxNext = -1

// canNote tells whether tc can watch what leaves by an interface (Linux 6.6), by trying it with a program that does nothing.
func (p place) canNote() bool {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "Dual BSD/GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, tcxNext), asm.Return()},
	})
	if err != nil {
		return false
	}
	defer func() { _ = prog.Close() }()
	l, err := attachNote(p, prog)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// notes tells whether it does.
func (p place) notes() (bool, error) { return p.has(pinNoteLink) }

// attachNote puts it before all other tc programs: behind one that accepts a packet for good it would see nothing.
func attachNote(p place, prog *ebpf.Program) (link.Link, error) {
	return link.AttachTCX(link.TCXOptions{Interface: p.ifindex, Program: prog, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
}

// openNote opens the pins of the program that notes what leaves, if there are any.
func (o *pinned) openNote(p place) (err error) {
	o.noteLink, err = link.LoadPinnedLink(filepath.Join(p.dir(), pinNoteLink), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	o.note, err = ebpf.LoadPinnedProgram(filepath.Join(p.dir(), pinNote), nil)
	return err
}

// The functions by which the datapath asks the kernel's connection tracking.
var trackingCalls = map[string]bool{"bpf_xdp_ct_lookup": true, "bpf_skb_ct_lookup": true, "bpf_ct_release": true}

// stripTracking takes them out: they are never called without can_track, yet loading fails where the kernel has others of the
// same names.
func stripTracking(spec *ebpf.CollectionSpec) {
	for _, prog := range spec.Programs {
		for i, ins := range prog.Instructions {
			if ins.IsKfuncCall() && trackingCalls[ins.Reference()] {
				prog.Instructions[i] = asm.Mov.Imm(asm.R0, 0).WithSource(ins.Source())
			}
		}
	}
}
