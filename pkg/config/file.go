package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	maxFile     = 64 << 10
	maxPassword = 1 << 10
)

// readFile reads a file of limited size, and tells whether everybody on the machine can read it. Errors begin with the
// path.
func readFile(path string, limit int64) (text []byte, public bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, explainFile(path, err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, false, explainFile(path, err)
	}
	if info.IsDir() {
		return nil, false, fmt.Errorf("%s is a folder: name a file", path)
	}
	text, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, false, explainFile(path, err)
	}
	if int64(len(text)) > limit {
		return nil, false, fmt.Errorf("%s is larger than %d KiB: is it the right file?", path, limit>>10)
	}
	return text, info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0, nil
}

func explainFile(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there: check the path", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s can't be read: run as its owner or as root", path)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}
