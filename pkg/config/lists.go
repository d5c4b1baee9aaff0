package config

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/weir-sensor/weir/pkg/prefixlist"
)

func checkPrefixes(text string) error {
	_, err := prefixlist.ParseInline(text)
	return err
}

// Read returns all prefixes of both lists. Errors name the file and the line.
func (l Lists) Read() (block, allow []netip.Prefix, err error) {
	if block, err = readList(l.Block, l.BlockFile); err != nil {
		return nil, nil, fmt.Errorf("lists.block: %w", err)
	}
	if allow, err = readList(l.Allow, l.AllowFile); err != nil {
		return nil, nil, fmt.Errorf("lists.allow: %w", err)
	}
	return block, allow, nil
}

func readList(inline, path string) ([]netip.Prefix, error) {
	list, err := prefixlist.ParseInline(inline)
	if err != nil || path == "" {
		return list, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, explainFile(path, err)
	}
	defer func() { _ = f.Close() }() // only read
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: name a file", path)
	}
	more, err := prefixlist.Read(f, path)
	return append(list, more...), err
}
