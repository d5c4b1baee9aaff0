package policer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// There is one of a kind, and what root locks a service's user can lock, too.
func TestSole(t *testing.T) {
	te.Root(t)
	const nobody = 65534
	run := t.TempDir()
	must(t, os.Chown(run, nobody, nobody))
	p, err := New(Options{Interface: "lo", Total: datapath.DefaultLimit, Run: run})
	must(t, err)
	first, err := p.Sole(t.Context(), 0)
	must(t, err)
	if _, err := p.Sole(t.Context(), 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "locked by another") {
		t.Errorf("a second one: %v", err)
	}
	must(t, first.Close())
	second, err := p.Sole(t.Context(), 0)
	must(t, err)
	must(t, second.Close())
	must(t, p.locked(func() error { return nil }))
	files, err := filepath.Glob(filepath.Join(run, "*"))
	must(t, err)
	if len(files) != 2 {
		t.Errorf("%v", files)
	}
	for _, f := range files {
		var st unix.Stat_t
		must(t, unix.Stat(f, &st))
		if st.Uid != nobody || st.Mode&0o077 != 0 {
			t.Errorf("%s: user %d, mode %o", f, st.Uid, st.Mode)
		}
	}
}

// A service's user can't have root hand over other files by the names of locks.
func TestLockIsNoLink(t *testing.T) {
	te.Root(t)
	const nobody = 65534
	for kind, link := range map[string]func(old, new string) error{"symbolic": os.Symlink, "hard": os.Link} {
		dir := t.TempDir()
		run, secret := filepath.Join(dir, "run"), filepath.Join(dir, "secret")
		must(t, os.Mkdir(run, 0o700))
		must(t, os.WriteFile(secret, nil, 0o600))
		must(t, link(secret, filepath.Join(run, lockFile)))
		must(t, os.Chown(run, nobody, nobody))
		p, err := New(Options{Interface: "lo", Total: datapath.DefaultLimit, Run: run})
		must(t, err)
		if err := p.locked(func() error { return nil }); err == nil {
			t.Errorf("%s link: it is locked", kind)
		}
		var st unix.Stat_t
		must(t, unix.Stat(secret, &st))
		if st.Uid != 0 {
			t.Errorf("%s link: root's file belongs to user %d", kind, st.Uid)
		}
	}
}
