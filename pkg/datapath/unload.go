package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Unload detaches the datapath from an interface and removes its pins, at once, whoever still has it open. It reports
// whether there was anything.
func Unload(bpffs, iface string) (bool, error) {
	p, err := locate(bpffs, iface)
	if err != nil {
		return false, err
	}
	return unload(p.root(), func(key string) bool { return key == p.key })
}

// UnloadAll does the same for every interface of every network namespace.
func UnloadAll(bpffs string) (bool, error) {
	if bpffs == "" {
		bpffs = DefaultBPFFS
	}
	return unload(filepath.Join(bpffs, "weir"), func(string) bool { return true })
}

// unload goes on after an error, so that as much as possible is undone.
func unload(root string, wanted func(key string) bool) (found bool, err error) {
	p := place{bpffs: filepath.Dir(root)}
	lock, err := p.lock()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case errors.Is(err, os.ErrPermission):
		return false, fmt.Errorf("open %s: not permitted: run as root", root)
	case err != nil:
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	// Other versions' too: all have their links in the same places, and whoever wants weir gone must not need them all.
	dirs, err := filepath.Glob(filepath.Join(root, "v*", "*"))
	if err != nil {
		return false, err
	}
	var errs []error
	for _, dir := range dirs {
		if wanted(strings.TrimPrefix(filepath.Base(dir), stagingPrefix)) {
			found = true
			errs = append(errs, discard(dir))
		}
	}
	p.removeEmpty()
	return found, errors.Join(errs...)
}

// discard removes pins. It detaches first: a link may be held open by others, and the kernel ends one that isn't only some
// time after its pin is gone.
func discard(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	h, err := openHook(dir)
	if err == nil {
		err = errors.Join(h.detach(), h.Close())
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	// XDP first: it must promise nothing that tc and the settings don't keep.
	return errors.Join(err, restorePinned(dir), discardTC(dir, pinAcceptLink), discardTC(dir, pinNoteLink), os.RemoveAll(dir))
}

// retire puts a program that only passes into a link's place, and waits until no CPU runs the one before. While a driver takes XDP off,
// a packet may be on its way through the program, and a helper that asks for the queue's device would then find none: Linux 6.1 has
// been seen to panic at that on a veth. A program that asks for nothing can't. If it can't be done, taking off goes on without.
func retire(l link.Link) {
	for _, flags := range []uint32{0, unix.BPF_F_XDP_HAS_FRAGS} {
		pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: "weir_retired", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "Dual BSD/GPL", Flags: flags,
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
		})
		if err != nil {
			continue
		}
		err = l.Update(pass)
		_ = pass.Close()
		if err == nil {
			awaitGrace()
			return
		}
	}
}

const (
	xdpPass          = 2
	membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL
	graceAtMost      = 100 * time.Millisecond
)

// awaitGrace waits for an RCU grace period: each CPU has left the packets that it was at.
func awaitGrace() {
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		time.Sleep(graceAtMost) // as under nohz_full; far longer than any packet takes
	}
}
