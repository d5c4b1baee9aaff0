// Package secretfile tells whether a file is as secret as a private key must be.
package secretfile

import (
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
