package datapath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ABI is WEIR_ABI of bpf/abi.h.
const ABI = 6

// DefaultBPFFS is where distributions mount the BPF file system.
const DefaultBPFFS = "/sys/fs/bpf"

const (
	// bpffs reserves names with dots.
	stagingPrefix = "staging-"

	pinLink    = "link"
	pinProgram = "prog"

	// Of the tc program; absent where the challenge isn't available.
	pinAcceptLink = "accept-link"
	pinAccept     = "accept"

	// Of the tracepoint; absent where the kernel has none.
	pinEstablishedLink = "established-link"
	pinEstablished     = "established"

	// Of the tc program that notes what leaves; absent before Linux 6.6.
	pinNoteLink = "note-link"
	pinNote     = "note"
)

// pinned are the maps that outlive the process, by the names of their pins.
func (m *bpfMaps) pinned() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		bpfMapControl: m.Control,
		bpfMapBudgets: m.Budgets,
		bpfMapFlows:   m.Flows,
		bpfMapSources: m.Sources,
		bpfMapCpus:    m.Cpus,
		bpfMapInfo:    m.Info,

		bpfMapLists:       m.Lists,
		bpfMapLongLists:   m.LongLists,
		bpfMapListControl: m.ListControl,
		bpfMapListEntries: m.ListEntries,

		bpfMapVerified: m.Verified,
		bpfMapSpoofing: m.Spoofing,
		bpfMapFallback: m.Fallback,

		bpfMapConnections: m.Connections,
		bpfMapCounted:     m.Counted,
		bpfMapPeers:       m.Peers,
		bpfMapUncounted:   m.Uncounted,
	}
}

// shared are those that all interfaces of a network namespace have in common: who is known, and who has how many connections,
// doesn't depend on the way that a packet takes.
var shared = []string{bpfMapSources, bpfMapVerified, bpfMapSpoofing, bpfMapConnections, bpfMapCounted, bpfMapPeers, bpfMapUncounted,
	bpfMapFlows, bpfMapFallback}

// place is where the pins of one interface are.
type place struct {
	bpffs   string
	iface   string
	ifindex int
	netns   uint32 // its inode
	key     string // <netns inode>-<interface index>
}

// locate finds the interface in the network namespace of the calling thread.
func locate(bpffs, iface string) (place, error) {
	if bpffs == "" {
		bpffs = DefaultBPFFS
	}
	i, err := FindInterface(iface)
	if err != nil {
		return place{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return place{}, fmt.Errorf("find the network namespace: %w: is /proc mounted?", err)
	}
	return place{
		bpffs: bpffs, iface: iface, ifindex: i.Index, netns: uint32(st.Ino), key: fmt.Sprintf("%d-%d", st.Ino, i.Index),
	}, nil
}

// FindInterface finds it in the network namespace of the calling thread.
func FindInterface(name string) (*net.Interface, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: there is no such interface%s: choose one with --interface", name, others())
	}
	return i, nil
}

func others() string {
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		return ""
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return " (there are " + strings.Join(names, ", ") + ")"
}

func (p place) root() string { return filepath.Join(p.bpffs, "weir") }
func (p place) abi() string  { return filepath.Join(p.root(), fmt.Sprintf("v%d", ABI)) }
func (p place) dir() string  { return filepath.Join(p.abi(), p.key) }

// has tells whether there is a pin.
func (p place) has(pin string) (bool, error) {
	_, err := os.Stat(filepath.Join(p.dir(), pin))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// staging is where pins are made before the directory is renamed as a whole.
func (p place) staging() string { return filepath.Join(p.abi(), stagingPrefix+p.key) }

// otherABIs are the pins of other versions of weir on this interface.
func (p place) otherABIs() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(p.root(), "v*", p.key))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, dir := range all {
		if dir != p.dir() {
			found = append(found, dir)
		}
	}
	return found, nil
}

// ensureBPFFS mounts the BPF file system where it isn't: minimal systems and containers leave that to the user.
func ensureBPFFS(path string) error {
	var fs unix.Statfs_t
	err := unix.Statfs(path, &fs)
	if err == nil && fs.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err == nil {
		err = unix.Mount("bpf", path, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
	}
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) && path == DefaultBPFFS { // which a kernel that has it makes
		return noProgram{fmt.Errorf("%s: %w: the kernel has no BPF file system", path, err)}
	}
	if err != nil {
		return fmt.Errorf("%s is no BPF file system and can't be mounted (%w): run `mount -t bpf bpf %s` as root", path, err, path)
	}
	return nil
}

// lockNew makes the folders where there are none. Whoever removes them holds the lock, so that they stay from here on.
func (p place) lockNew() (*os.File, error) {
	for {
		if err := os.MkdirAll(p.root(), 0o700); err != nil {
			return nil, fmt.Errorf("make %s: %w: run as root", p.root(), err)
		}
		lock, err := p.lock()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(p.abi(), 0o700); err != nil {
			p.removeEmpty()
			return nil, errors.Join(fmt.Errorf("make %s: %w: run as root", p.abi(), err), lock.Close())
		}
		return lock, nil
	}
}

// removeEmpty removes the folders that nobody uses. The caller holds the lock.
func (p place) removeEmpty() {
	versions, _ := filepath.Glob(filepath.Join(p.root(), "v*"))
	for _, dir := range append(versions, p.root()) {
		_ = os.Remove(dir)
	}
}

// lockTimeout is far longer than any holder needs: one that is stopped must not stop the others for ever.
const lockTimeout = 5 * time.Second

// lock keeps other weir processes from changing pins or control maps. Closing the file unlocks, as does dying.
func (p place) lock() (*os.File, error) {
	dir, err := os.Open(p.root())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			if err := p.isRoot(dir); err != nil {
				return nil, errors.Join(err, dir.Close())
			}
			return dir, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", p.root(), err), dir.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s is locked by another weir process: find it with `fuser %s`", p.root(), p.root()),
				dir.Close())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// whileLive runs f while nobody else changes the datapath of an interface. It wraps ErrNotAttached when there is none.
func whileLive(bpffs, iface string, f func(place) error) (err error) {
	p, err := locate(bpffs, iface)
	if err != nil {
		return err
	}
	lock, err := p.lock()
	if err != nil {
		return explainOpen(p.iface, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if live, err := p.live(); err != nil {
		return err
	} else if !live {
		return notAttached(p.iface)
	}
	return f(p)
}

// isRoot returns os.ErrNotExist for a folder that was removed while its lock was waited for.
func (p place) isRoot(dir *os.File) error {
	was, err := dir.Stat()
	if err != nil {
		return err
	}
	is, err := os.Stat(p.root())
	if err == nil && !os.SameFile(was, is) {
		return os.ErrNotExist
	}
	return err
}
