package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf/link"
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
	lock, err := place{bpffs: filepath.Dir(root)}.lock()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case errors.Is(err, os.ErrPermission):
		return false, fmt.Errorf("open %s: not permitted: run as root", root)
	case err != nil:
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	dirs, err := filepath.Glob(filepath.Join(root, fmt.Sprintf("v%d", ABI), "*"))
	if err != nil {
		return false, err
	}
	var errs []error
	for _, dir := range dirs {
		if wanted(strings.TrimPrefix(filepath.Base(dir), stagingPrefix)) {
			found = true
			errs = append(errs, detach(dir), os.RemoveAll(dir))
		}
	}
	// The directories go once nobody uses them.
	_ = os.Remove(filepath.Join(root, fmt.Sprintf("v%d", ABI)))
	_ = os.Remove(root)
	return found, errors.Join(errs...)
}

// detach takes the program off the interface even while somebody holds the link open.
func detach(dir string) error {
	l, err := link.LoadPinnedLink(filepath.Join(dir, pinLink), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the link in %s: %w", dir, err)
	}
	err = l.Detach()
	if gone, queryErr := attachedTo(l, 0); queryErr == nil && gone {
		err = nil // the interface took it along
	}
	return errors.Join(err, l.Close())
}
