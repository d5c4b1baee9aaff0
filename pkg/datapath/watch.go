package datapath

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// errNoTracepoint is for kernels without BTF or the tracepoint inet_sock_set_state, and for privilege without CAP_PERFMON.
var errNoTracepoint = errors.New("the tracepoint of sockets' states can't be used")

// watch attaches and pins the program that sees which sources complete handshakes with the kernel, and how many connections they
// have, unless the same one is there already. Without it sources are known once they were challenged, and there is no cap.
func (p place) watch(objs *bpfObjects) error {
	if objs.WeirEstablished.Type() != ebpf.Tracing {
		return errNoTracepoint
	}
	pin := filepath.Join(p.dir(), pinEstablishedLink)
	kept := filepath.Join(p.dir(), pinEstablished)
	if same, err := watchedBy(pin, kept, objs.WeirEstablished); err != nil || same {
		return err
	}
	next, nextKept := pin+"-next", kept+"-next"
	clear := func() error { return errors.Join(os.RemoveAll(next), os.RemoveAll(nextKept)) }
	if err := clear(); err != nil {
		return fmt.Errorf("clear what an interrupted upgrade left: %w", err)
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: objs.WeirEstablished})
	if err != nil {
		return fmt.Errorf("%w: %w", errNoTracepoint, err)
	}
	if err = errors.Join(l.Pin(next), objs.WeirEstablished.Pin(nextKept)); err != nil {
		err = fmt.Errorf("pin the tracepoint's link: %w", err)
	} else if err = countOpen(objs); err == nil {
		// The link's pin gets its name last: one that is there tells the next start that all was done. Where the program's is another
		// one's, that start does all this again.
		err = os.Rename(next, pin)
	}
	if err != nil {
		return errors.Join(err, clear(), l.Close())
	}
	if os.Rename(nextKept, kept) != nil {
		_ = os.RemoveAll(nextKept)
	}
	return l.Close()
}

// countOpen counts the connections that are open already, of the calling thread's network namespace.
func countOpen(objs *bpfObjects) (err error) {
	l, err := link.AttachIter(link.IterOptions{Program: objs.WeirOpen})
	if err != nil {
		return fmt.Errorf("count the open connections: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	walk, err := l.Open()
	if err != nil {
		return fmt.Errorf("count the open connections: %w", err)
	}
	_, err = io.Copy(io.Discard, walk) // it prints nothing
	return errors.Join(err, walk.Close())
}

// watchedBy tells whether the pinned link runs a program of the same instructions. To open that program by the link takes
// CAP_SYS_ADMIN, so it's pinned as well; where the two don't belong together, as after a crash, it isn't the same.
func watchedBy(pin, kept string, prog *ebpf.Program) (same bool, err error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the tracepoint's link: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("query the tracepoint's link: %w", err)
	}
	running, err := ebpf.LoadPinnedProgram(kept, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the tracepoint's program: %w", err)
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	was, err := running.Info()
	if err != nil {
		return false, fmt.Errorf("query the tracepoint's program: %w", err)
	}
	is, err := prog.Info()
	if err != nil {
		return false, fmt.Errorf("query the new program: %w", err)
	}
	id, known := was.ID()
	return known && id == info.Program && was.Tag == is.Tag, nil
}
