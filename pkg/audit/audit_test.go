package audit

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	quiet = slog.New(slog.DiscardHandler)
)

func options(path string) Options {
	return Options{Path: path, Host: "bank1", Component: "controller", Bytes: 4 << 10, Files: 3}
}

// write makes a log with n commands.
func write(t testing.TB, path string, n int) {
	t.Helper()
	l, err := Open(options(path), start, quiet)
	must(t, err)
	for i := range n {
		l.Note(start.Add(time.Duration(i)*time.Second), Event{Kind: "command", Command: "enable_rate_limiting", ID: fmt.Sprint(i), Result: "success"})
	}
	must(t, l.Close())
}

func TestChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit[1].log")
	write(t, path, 5)
	write(t, path, 5) // goes on
	all, err := Verify(path)
	if err != nil || len(all) != 1 || all[0].Lines != 12 || all[0].First != 1 || all[0].Last != 12 {
		t.Errorf("%+v, %v", all, err)
	}
	n := 0
	must(t, Each(path, func(r Record) error {
		n++
		if r.Seq != uint64(n) || r.Host != "bank1" || r.Component != "controller" {
			t.Errorf("%+v", r)
		}
		return nil
	}))
	info, err := os.Stat(path)
	must(t, err)
	if n != 12 || info.Mode().Perm() != 0o600 {
		t.Errorf("%d lines, mode %v", n, info.Mode())
	}
	var none *Log
	none.Note(start, Event{})
	must(t, none.Close())
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	write(t, path, 40)
	write(t, path, 60)
	all, err := Verify(path)
	if err != nil || len(all) != 4 || all[0].First == 1 || all[3].Last != 102 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, c := range all {
		if info, err := os.Stat(c.File); err != nil || info.Size() > 4<<10 {
			t.Errorf("%s: %v", c.File, info.Size())
		}
	}
	// Killed when the full file was put aside and no other was begun.
	must(t, os.Rename(path, rotated(path, 102)))
	write(t, path, 1)
	if all, err := Verify(path); err != nil || all[len(all)-1].Last != 104 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestDamageIsFound(t *testing.T) {
	split := func(text []byte) [][]byte { return bytes.SplitAfter(text, []byte("\n")) }
	for name, c := range map[string]struct {
		change func(lines [][]byte) [][]byte
		says   string
	}{
		"a byte": {func(l [][]byte) [][]byte { l[3] = bytes.Replace(l[3], []byte("enable"), []byte("enaple"), 1); return l }, "line 5: the line before it, number 4, was changed"},
		"the last": {func(l [][]byte) [][]byte {
			n := len(l) - 2
			l[n] = bytes.Replace(l[n], []byte("enable"), []byte("enaple"), 1)
			return l
		}, "was changed"},
		"missing":  {func(l [][]byte) [][]byte { return append(l[:3], l[4:]...) }, "number 5 follows 3"},
		"swapped":  {func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l }, "number 5 follows 3"},
		"inserted": {func(l [][]byte) [][]byte { return append(l[:3], append([][]byte{l[2]}, l[3:]...)...) }, "number 3 follows 3"},
		"cut off":  {func(l [][]byte) [][]byte { return l[:4] }, "lines were cut off"},
		"nonsense": {func(l [][]byte) [][]byte { l[3] = []byte("hello\n"); return l }, "line 4: no line"},
		"begun later": {func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte(`"prev":""`), []byte(`"prev":"00"`), 1)
			return l
		}, "the first line has one before it"},
	} {
		path := filepath.Join(t.TempDir(), "audit.log")
		write(t, path, 8)
		text, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, bytes.Join(c.change(split(text)), nil), 0o600))
		if _, err := Verify(path); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	write(t, path, 100)
	files, err := older(path)
	must(t, err)
	must(t, os.Rename(files[0], files[1])) // another one in its place
	if _, err := Verify(path); err == nil {
		t.Error("an older file was exchanged")
	}
	must(t, os.Remove(path+".head"))
	if _, err := Verify(path); err == nil {
		t.Error("the head is missing")
	}
}

func TestOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(options(path), start, quiet)
	must(t, err)
	if _, err := Open(options(path), start, quiet); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
	must(t, l.Close())
	must(t, os.WriteFile(path, []byte("hello\n"), 0o600))
	if _, err := Open(options(path), start, quiet); err == nil || !strings.Contains(err.Error(), "no audit log") {
		t.Error(err)
	}
}

func TestFloodIsFolded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	o := options(path)
	o.Bytes = 1 << 20
	l, err := Open(o, start.Add(-time.Hour), quiet)
	must(t, err)
	for range 5000 {
		l.Note(start, Event{Kind: "refused", Detail: strings.Repeat("x", 5000)})
	}
	l.Note(start.Add(time.Second), Event{Kind: "command"})
	must(t, l.Close())
	var kinds []string
	folded := 0
	must(t, Each(path, func(r Record) error {
		if len(r.Detail) > maxDetail {
			t.Error("a long detail")
		}
		if r.Kind == KindFolded {
			folded += r.Count
		}
		kinds = append(kinds, r.Kind)
		return nil
	}))
	if len(kinds) != maxPerSecond+3 || folded != 5000-maxPerSecond || kinds[len(kinds)-1] != "command" {
		t.Errorf("%d lines, %d folded, %s", len(kinds), folded, kinds[len(kinds)-1])
	}
	_, err = Verify(path)
	must(t, err)
}

// A full disk stops nobody, and what it took is told of.
func TestFullDisk(t *testing.T) {
	te.Root(t)
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "audit.log")
	o := options(path)
	o.Bytes = 1 << 20
	l, err := Open(o, start, quiet)
	must(t, err)
	te.Eventually(t, 5*time.Second, "the first line", func() bool { _, err := os.Stat(path + ".head"); return err == nil })
	filler := filepath.Join(dir, "filler")
	err = os.WriteFile(filler, make([]byte, 1<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	for i := range 50 {
		l.Note(start.Add(time.Duration(i)*time.Second), Event{Kind: "command", Detail: strings.Repeat("x", 500)})
	}
	for len(l.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	must(t, os.Remove(filler))
	l.Note(start.Add(time.Hour), Event{Kind: "command"})
	must(t, l.Close())
	_, err = Verify(path)
	must(t, err)
	told, there := 0, 0
	must(t, Each(path, func(r Record) error {
		switch r.Kind {
		case KindLost:
			told += r.Count
		case "command":
			there++
		}
		return nil
	}))
	if told == 0 || told+there != 51 {
		t.Errorf("%d are there, %d are told to be lost, of 51", there, told)
	}
}

// TestKilled kills a process that writes, at any moment: what is left is whole.
func TestKilled(t *testing.T) {
	if path := os.Getenv("PAGE_AUDIT_LOG"); path != "" {
		l, err := Open(options(path), time.Now(), quiet)
		must(t, err)
		for i := 0; ; i++ {
			l.Note(start.Add(time.Duration(i)*time.Second), Event{Kind: "command", Detail: strings.Repeat("x", i%300)})
			if i%500 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	for i := range 30 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "PAGE_AUDIT_LOG="+path)
		must(t, cmd.Start())
		time.Sleep(time.Duration(20+7*i) * time.Millisecond)
		must(t, cmd.Process.Signal(syscall.SIGKILL))
		_ = cmd.Wait()
		write(t, path, 1)
		if _, err := Verify(path); err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
	}
}

func TestHalfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	write(t, path, 3)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString(`{"seq":6,"ti`)
	must(t, errors.Join(err, f.Close()))
	write(t, path, 1)
	_, err = Verify(path)
	must(t, err)
	torn, err := filepath.Glob(path + ".torn-*")
	must(t, err)
	kinds := ""
	must(t, Each(path, func(r Record) error { kinds += " " + r.Kind; return nil }))
	if len(torn) != 1 || !strings.Contains(kinds, " log_torn log_opened command") {
		t.Errorf("%q,%s", torn, kinds)
	}
}

func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "audit.log")
	write(f, path, 3)
	text, err := os.ReadFile(path)
	must(f, err)
	f.Add(string(text))
	f.Add("{}\n\n")
	f.Add(`{"seq":18446744073709551615,"prev":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		c := chain{}
		n := 0
		err := eachLineOf(strings.NewReader(text), "x", func(b []byte, l line) error { n++; return c.next(b, l) })
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
	})
}

// BenchmarkWrite is of one line, which the disk has taken.
func BenchmarkWrite(b *testing.B) {
	l, err := Open(Options{Path: filepath.Join(b.TempDir(), "audit.log"), Bytes: 1 << 30, Files: 1}, start, quiet)
	must(b, err)
	must(b, l.Close())
	l.file = nil
	for b.Loop() {
		must(b, l.write(start, Event{Kind: "command", Command: "enable_rate_limiting"}))
	}
}
