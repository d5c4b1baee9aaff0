package datapath

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// share opens the shared maps of another interface of the network namespace, and takes over what they were made for: one secret,
// so that an ACK may come by another way than its SYN, and one seed. It returns nil if there is none, or none with a
// table of the same size.
func (p place) share(c *constants) (map[string]*ebpf.Map, error) {
	dirs, err := filepath.Glob(filepath.Join(p.abi(), fmt.Sprintf("%d-*", p.netns)))
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		info, err := pinnedInfo(dir)
		if err != nil {
			continue // on its way out, or not ours to understand: then this interface stands alone
		}
		maps, err := openShared(dir)
		if err != nil {
			continue
		}
		if int(maps[bpfMapSources].MaxEntries())*ways != c.sources {
			if err := closeMaps(maps); err != nil {
				return nil, err
			}
			continue
		}
		c.seed, c.secret = info.Seed, info.Secret
		return maps, nil
	}
	return nil, nil
}

func pinnedInfo(dir string) (info bpfWeirInfo, err error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, bpfMapInfo), readOnly)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return readInfo(m)
}

func openShared(dir string) (map[string]*ebpf.Map, error) {
	maps := map[string]*ebpf.Map{}
	for _, name := range shared {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err != nil {
			return nil, errors.Join(err, closeMaps(maps))
		}
		maps[name] = m
	}
	return maps, nil
}

func closeMaps(maps map[string]*ebpf.Map) error {
	var errs []error
	for _, m := range maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
