package secretfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestPrivate(t *testing.T) {
	handed, other := t.TempDir(), t.TempDir()
	for _, x := range []struct {
		dir  string
		mode fs.FileMode
		want bool
	}{
		{other, 0o600, true}, {other, 0o400, true}, {other, 0o440, false}, {other, 0o604, false}, {other, 0o620, false},
		{handed, 0o400, true}, {handed, 0o440, true}, {handed, 0o460, false}, {handed, 0o444, false}, {handed, 0o450, false},
	} {
		path := filepath.Join(x.dir, "tls.key")
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, x.mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("CREDENTIALS_DIRECTORY", handed+"/")
		if got := Private(path, info); got != x.want {
			t.Errorf("%s of mode %o is private: %v", path, x.mode, got)
		}
		t.Setenv("CREDENTIALS_DIRECTORY", "")
		if got := Private(path, info); got != (x.mode&0o077 == 0) {
			t.Errorf("%s of mode %o is private without credentials: %v", path, x.mode, got)
		}
	}
}
