// Package packaging tests what scripts/package makes: that it is the same wherever it is made, and that it installs, upgrades and goes.
package packaging

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
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

// TestBOM compares what the package says is in it with what the linker noted in the binary.
func TestBOM(t *testing.T) {
	testenv.Tool(t, "dpkg-deb")
	root := t.TempDir()
	command(t, nil, "dpkg-deb", "-x", only(t, packages(t, "1.0.0")+"/*.deb"), root)
	var sbom struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct{ Version string }
		}
		Components []struct {
			Purl     string
			Licenses []any
		}
	}
	b, err := os.ReadFile(filepath.Join(root, "usr/share/doc/weir/sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &sbom); err != nil {
		t.Fatal(err)
	}
	if sbom.BOMFormat != "CycloneDX" || sbom.SpecVersion != "1.6" || sbom.Metadata.Component.Version != "1.0.0" {
		t.Errorf("an SBOM of %s %s for weir %s", sbom.BOMFormat, sbom.SpecVersion, sbom.Metadata.Component.Version)
	}
	listed := map[string]bool{}
	for _, c := range sbom.Components {
		listed[c.Purl] = true
		if len(c.Licenses) == 0 {
			t.Errorf("%s has no licence", c.Purl)
		}
	}
	info, err := buildinfo.ReadFile(filepath.Join(root, "usr/bin/weir"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if !listed["pkg:golang/"+m.Path+"@"+m.Version] {
			t.Errorf("%s %s is not in the SBOM", m.Path, m.Version)
		}
	}
	texts, err := os.ReadFile(filepath.Join(root, "usr/share/doc/weir/licences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"  preact ", "  uplot ", "  std ", "Permission is hereby granted", "Eclipse Public License"} {
		if !bytes.Contains(texts, []byte(want)) {
			t.Errorf("licences.txt lacks %q", want)
		}
	}
}
