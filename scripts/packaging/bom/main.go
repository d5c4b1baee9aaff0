// Bom writes what a binary of weir is made of: an SBOM in the form of CycloneDX, and the licences of all that is in it, which their
// terms want to go with it. It fails at a licence that isn't on the list of those that are compatible with weir's.
//
//	bom BINARY VERSION TREE SBOM LICENCES
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// allowed are permissive licences, and two whose terms go no further than the work itself.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "EPL-2.0", "Unlicense", "CC0-1.0"}

// module is one that is in the binary, or in the page that it serves.
type module struct {
	name, version, purl string
	dir                 string // where its licence is
	licences            []string
	text                string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bom:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 {
		return errors.New("usage: bom BINARY VERSION TREE SBOM LICENCES")
	}
	all, err := modulesOf(args[0], args[2])
	if err != nil {
		return err
	}
	var errs []error
	for i := range all {
		errs = append(errs, all[i].read())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	binary, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	sum := sha256.Sum256(binary)
	return errors.Join(writeSBOM(args[3], args[1], hex.EncodeToString(sum[:]), all), writeLicences(args[4], all))
}

// modulesOf are a binary's, by what the linker noted in it, Go's library and runtime among them, and the page's.
func modulesOf(binary, tree string) (all []module, err error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, module{name: m.Path, version: m.Version, purl: "pkg:golang/" + m.Path + "@" + m.Version})
	}
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Path}}\t{{.Dir}}", "all")
	cmd.Dir = tree
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m all: %w", err)
	}
	dirs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		dirs[path] = dir
	}
	for i := range all {
		all[i].dir = dirs[all[i].name]
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	v := strings.TrimPrefix(info.GoVersion, "go")
	all = append(all, module{name: "std", version: v, purl: "pkg:golang/std@" + v, dir: strings.TrimSpace(string(goroot))})
	page, err := page(filepath.Join(tree, "pkg/web/page"))
	all = append(all, page...)
	slices.SortFunc(all, func(a, b module) int { return cmp.Compare(a.purl, b.purl) })
	return all, err
}

// page is what esbuild has taken into the bundle.
func page(dir string) ([]module, error) {
	b, err := os.ReadFile(filepath.Join(dir, "node_modules/.bundled.json"))
	if err != nil {
		return nil, fmt.Errorf("%w: run scripts/page", err)
	}
	var bundle struct{ Inputs map[string]struct{} }
	if err := json.Unmarshal(b, &bundle); err != nil {
		return nil, err
	}
	found := map[string]module{}
	for path := range bundle.Inputs {
		_, rest, ok := strings.Cut(path, "node_modules/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if scope, tail, ok := strings.Cut(rest, "/"); ok && strings.HasPrefix(rest, "@") {
			second, _, _ := strings.Cut(tail, "/")
			name = scope + "/" + second
		}
		m := module{name: name, dir: filepath.Join(dir, "node_modules", name)}
		b, err := os.ReadFile(filepath.Join(m.dir, "package.json"))
		if err != nil {
			return nil, err
		}
		var p struct{ Version string }
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, err
		}
		m.version, m.purl = p.Version, "pkg:npm/"+strings.ReplaceAll(name, "@", "%40")+"@"+p.Version
		found[name] = m
	}
	var all []module
	for _, m := range found {
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, errors.New("there is nothing in the page's bundle: run scripts/page")
	}
	return all, nil
}

// read finds a module's licences by their texts.
func (m *module) read() error {
	entries, err := os.ReadDir(m.dir)
	if m.dir == "" || err != nil {
		return fmt.Errorf("%s: its folder isn't known: go mod download", m.name)
	}
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if e.IsDir() || !slices.ContainsFunc([]string{"LICEN", "COPYING", "NOTICE", "UNLICENSE"}, func(p string) bool { return strings.HasPrefix(upper, p) }) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(m.dir, e.Name()))
		if err != nil {
			return err
		}
		m.text += strings.TrimSpace(string(b)) + "\n"
	}
	m.licences = classify(m.text)
	return m.judge()
}

func (m *module) judge() error {
	if len(m.licences) == 0 {
		return fmt.Errorf("%s %s: no licence is recognised in %s", m.name, m.version, m.dir)
	}
	for _, l := range m.licences {
		if !slices.Contains(allowed, l) {
			return fmt.Errorf("%s %s: the licence %s is not on the list", m.name, m.version, l)
		}
	}
	return nil
}

func writeLicences(path string, all []module) error {
	var b strings.Builder
	b.WriteString("weir holds these works of others, under their licences:\n\n")
	for _, m := range all {
		fmt.Fprintf(&b, "  %s %s: %s\n", m.name, m.version, strings.Join(m.licences, ", "))
	}
	for _, m := range all {
		fmt.Fprintf(&b, "\n%s\n%s %s\n\n%s", strings.Repeat("-", 100), m.name, m.version, m.text)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func writeSBOM(path, version, sum string, all []module) error {
	type licence struct {
		License struct {
			ID string `json:"id"`
		} `json:"license"`
	}
	type hash struct {
		Alg     string `json:"alg"`
		Content string `json:"content"`
	}
	type component struct {
		Type     string    `json:"type"`
		Ref      string    `json:"bom-ref"`
		Name     string    `json:"name"`
		Version  string    `json:"version"`
		PURL     string    `json:"purl,omitempty"`
		Hashes   []hash    `json:"hashes,omitempty"`
		Licenses []licence `json:"licenses,omitempty"`
	}
	var sbom struct {
		Format   string `json:"bomFormat"`
		Spec     string `json:"specVersion"`
		Version  int    `json:"version"`
		Metadata struct {
			Component component `json:"component"`
		} `json:"metadata"`
		Components []component `json:"components"`
	}
	sbom.Format, sbom.Spec, sbom.Version = "CycloneDX", "1.6", 1
	id := func(l string) (x licence) { x.License.ID = l; return x }
	sbom.Metadata.Component = component{Type: "application", Ref: "weir", Name: "weir", Version: version, Hashes: []hash{{"SHA-256", sum}}, Licenses: []licence{id("Apache-2.0")}}
	for _, m := range all {
		c := component{Type: "library", Ref: m.purl, Name: m.name, Version: m.version, PURL: m.purl}
		for _, l := range m.licences {
			c.Licenses = append(c.Licenses, id(l))
		}
		sbom.Components = append(sbom.Components, c)
	}
	b, err := json.MarshalIndent(sbom, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
