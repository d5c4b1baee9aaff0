// Package secretfile tells whether a file is as secret as a private key must be.
package secretfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Private tells whether nobody but its owner may read or write a file. What systemd hands over in $CREDENTIALS_DIRECTORY is mode 0440 where
// the service has a user of its own: the group's bits are the mask of an ACL then, which names that user alone.
func Private(path string, info fs.FileInfo) bool {
	open := info.Mode().Perm() & 0o077
	return open == 0 || open == 0o040 && handedOver(path)
}

func handedOver(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return false
	}
	path, err := filepath.Abs(path)
	return err == nil && filepath.Dir(path) == filepath.Clean(dir)
}

const maxSecret = 4 << 10 // bytes

// Check errs if others than its owner may read or write a file.
func Check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !Private(path, info) {
		return fmt.Errorf("%s can be read by others: chmod 600 %s", path, path)
	}
	return nil
}

// ReadLine reads a secret that is one line, without the line's end. What others may read is refused.
func ReadLine(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecret {
		return nil, fmt.Errorf("%s: name a file of one line", path)
	}
	if err := Check(path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 || bytes.ContainsAny(text, "\r\n\x00") {
		return nil, fmt.Errorf("%s: want one line, the secret", path)
	}
	return text, nil
}
