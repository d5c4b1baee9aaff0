package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/tc"
)

// hook is where the program is attached that judges packets: XDP, by a link, or tc, by a filter.
type hook interface {
	Update(*ebpf.Program) error
	Close() error
	holds(ifindex int) (bool, error) // this interface; 0 for none any more
	detach() error
}

// openHook opens the one of a place's pins. It returns os.ErrNotExist if there is none.
func openHook(dir string) (hook, error) {
	if _, err := os.Stat(dir); err != nil { // which kernels without BPF tell as well
		return nil, err
	}
	l, err := link.LoadPinnedLink(filepath.Join(dir, pinLink), nil)
	if err == nil {
		return xdpHook{l}, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	info, err := pinnedInfo(dir)
	if err != nil {
		return nil, err
	}
	if goString(info.Tier[:]) != TierTC {
		return nil, os.ErrNotExist
	}
	prog, err := ebpf.LoadPinnedProgram(filepath.Join(dir, pinProgram), nil)
	if err != nil {
		return nil, err
	}
	h, err := newTCHook(dir, prog)
	return h, errors.Join(err, prog.Close())
}

type xdpHook struct{ link.Link }

func (h xdpHook) holds(ifindex int) (bool, error) { return attachedTo(h.Link, ifindex) }

func (h xdpHook) detach() error {
	if gone, err := h.holds(0); err != nil || gone {
		return err // the interface took it along
	}
	retire(h.Link)
	return h.Link.Detach()
}

// tcHook is a filter of the clsact qdisc. Links of tc's programs would need Linux 6.6.
type tcHook struct {
	ifindex int
	here    bool // the interface is in the network namespace of the calling thread
	id      uint32
}

// The filter's name also tells whether weir has made the qdisc.
const (
	filterName     = "weir"
	filterNameMade = "weir (clsact)"
)

// newTCHook looks for a program where the name of its pins' directory says.
func newTCHook(dir string, prog *ebpf.Program) (*tcHook, error) {
	id, err := programID(prog)
	if err != nil {
		return nil, err
	}
	netns, ifindex, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), stagingPrefix), "-")
	h := &tcHook{id: id}
	if h.ifindex, err = strconv.Atoi(ifindex); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return nil, fmt.Errorf("find the network namespace: %w: is /proc mounted?", err)
	}
	h.here = netns == strconv.FormatUint(st.Ino, 10)
	return h, nil
}

func programID(prog *ebpf.Program) (uint32, error) {
	info, err := prog.Info()
	if err != nil {
		return 0, fmt.Errorf("query a program: %w", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, errors.New("the kernel doesn't tell a program's ID")
	}
	return uint32(id), nil
}

func (h *tcHook) filter() (f tc.Filter, found bool, err error) {
	if !h.here {
		return f, false, errors.New("tc's program is in another network namespace: run weir unload there")
	}
	all, err := tc.Filters(h.ifindex)
	for _, f := range all {
		if f.Program == h.id {
			return f, true, err
		}
	}
	return f, false, err
}

func (h *tcHook) holds(ifindex int) (bool, error) {
	_, found, err := h.filter()
	return found == (ifindex == h.ifindex), err
}

func (h *tcHook) Update(prog *ebpf.Program) error {
	f, found, err := h.filter()
	if err != nil {
		return err
	}
	if !found {
		return ErrDetached
	}
	id, err := programID(prog)
	if err != nil {
		return err
	}
	if err := tc.ReplaceProgram(h.ifindex, f, prog.FD()); err != nil {
		return err
	}
	h.id = id
	return nil
}

func (h *tcHook) detach() error {
	f, found, err := h.filter()
	if err != nil || !found {
		return err
	}
	if err := tc.RemoveFilter(h.ifindex, f); err != nil || f.Name != filterNameMade {
		return err
	}
	return tc.RemoveClsact(h.ifindex)
}

func (h *tcHook) Close() error { return nil }

// attachTC lets tc judge what comes in by an interface.
func (p place) attachTC(prog *ebpf.Program) error {
	made, err := tc.EnsureClsact(p.ifindex)
	if err != nil {
		return err
	}
	name := filterName
	if made {
		name = filterNameMade
	}
	if err = tc.AddProgram(p.ifindex, prog.FD(), name); err != nil && made {
		err = errors.Join(err, tc.RemoveClsact(p.ifindex))
	}
	return err
}

// clearTC takes away what an interrupted start left: a filter of weir's whose program has no pin.
func (p place) clearTC() error {
	all, err := tc.Filters(p.ifindex)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range all {
		if f.Name == filterName || f.Name == filterNameMade {
			h := tcHook{ifindex: p.ifindex, here: true, id: f.Program}
			errs = append(errs, h.detach())
		}
	}
	return errors.Join(errs...)
}
