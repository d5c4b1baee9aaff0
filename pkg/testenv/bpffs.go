package testenv

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const bpffs = "/sys/fs/bpf"

// PinDir makes a folder for pins that lasts as long as the test. It mounts bpffs if nobody has.
func PinDir(t testing.TB) string {
	t.Helper()
	Root(t)
	reapOnce.Do(reapAll)
	var fs unix.Statfs_t
	if err := unix.Statfs(bpffs, &fs); err != nil {
		t.Fatalf("%s: %v: mount -t sysfs sysfs /sys", bpffs, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
			t.Fatalf("mount bpffs on %s: %v", bpffs, err)
		}
	}
	dir := filepath.Join(bpffs, unique())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
