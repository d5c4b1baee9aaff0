// Package packaging tests what scripts/package makes: that it is the same wherever it is made, and that it installs, upgrades and goes.
package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/weir-sensor/weir/pkg/testenv"
)

// The packages are made from copies, since other tests build from the tree meanwhile.
var built struct {
	sync.Mutex
	dir     string
	version map[string]bool
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// packages makes a version's packages once, and returns their directory.
func packages(t *testing.T, version string) string {
	t.Helper()
	testenv.Tool(t, "npm", "node")
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		var err error
		if built.dir, err = os.MkdirTemp("", "weir-packages-"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(built.dir, 0o755); err != nil { // apt's own user looks into it
			t.Fatal(err)
		}
		built.version = map[string]bool{}
		copyTree(t, filepath.Join(built.dir, "tree"))
	}
	out := filepath.Join(built.dir, version)
	if !built.version[version] {
		build(t, filepath.Join(built.dir, "tree"), version, out)
		built.version[version] = true
	}
	return out
}

// copyTree copies the sources, and lends the npm modules that are here, if any are.
func copyTree(t *testing.T, to string) {
	t.Helper()
	const root = "../.."
	command(t, nil, "mkdir", "-p", to)
	command(t, nil, "sh", "-c", `cd "$0" && tar -c --exclude=node_modules --exclude=page/dist/* LICENSE go.mod go.sum bpf cmd docs pkg scripts | tar -x -C "$1"`, root, to)
	modules, err := filepath.Abs(filepath.Join(root, "pkg/web/page/node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(modules); err == nil {
		if err := os.Symlink(modules, filepath.Join(to, "pkg/web/page/node_modules")); err != nil {
			t.Fatal(err)
		}
	}
}

// epoch is the time of all that is in the packages.
const epoch = "1700000000"

func build(t *testing.T, tree, version, out string) {
	t.Helper()
	command(t, []string{"VERSION=" + version, "SOURCE_DATE_EPOCH=" + epoch}, filepath.Join(tree, "scripts/package"), out)
}

func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// only finds the one file of a pattern.
func only(t *testing.T, pattern string) string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) != 1 {
		t.Fatalf("%s: %v %v", pattern, all, err)
	}
	return all[0]
}

// TestReproducible makes the packages twice, in folders of different names.
func TestReproducible(t *testing.T) {
	here := packages(t, "1.0.0")
	elsewhere := filepath.Join(t.TempDir(), "a folder of another name")
	copyTree(t, elsewhere)
	there := t.TempDir()
	build(t, elsewhere, "1.0.0", there)
	for _, kind := range []string{"deb", "rpm"} {
		a, err := os.ReadFile(only(t, here+"/*."+kind))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(only(t, there+"/*."+kind))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) { // the binary is in it
			t.Errorf("two builds of the .%s differ", kind)
		}
	}
}
