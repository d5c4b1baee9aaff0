package history

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func openStore(t *testing.T, path string, limits Limits) (*Store, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	s, err := Open(t.Context(), path, limits, slog.New(slog.NewTextHandler(&said, nil)))
	must(t, err)
	return s, &said
}

func record(i int, kind string, age time.Duration) Record {
	return Record{At: time.Now().Add(-age), Root: "bank/web1", Kind: kind, Topic: "bank/web1/" + kind, Payload: fmt.Appendf(nil, `{"n": %d}`, i)}
}

func read(t *testing.T, s *Store, q Query) []Record {
	t.Helper()
	if q.Root == "" {
		q.Root = "bank/web1"
	}
	all, err := s.Read(t.Context(), q)
	must(t, err)
	return all
}

func TestRecordsAreThereAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new folder", "his?tory%20.db")
	s, _ := openStore(t, path, Limits{})
	for i := range 2000 {
		s.Add(record(i, "cpu", time.Hour-time.Duration(i)*time.Second))
	}
	s.Add(record(1, "alerts", 0))
	s.Add(Record{At: time.Now(), Kind: "public", Topic: "public/x"})
	must(t, s.Close())
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}

	s, _ = openStore(t, path, Limits{})
	defer func() { must(t, s.Close()) }()
	all := read(t, s, Query{Kinds: []string{"cpu"}})
	if len(all) != 2000 || string(all[0].Payload) != `{"n": 0}` || string(all[1999].Payload) != `{"n": 1999}` || all[7].Topic != "bank/web1/cpu" {
		t.Fatalf("%d records, %+v", len(all), all[0])
	}
	if got := read(t, s, Query{Kinds: []string{"cpu", "alerts"}, Limit: 3}); len(got) != 3 || got[2].Kind != "alerts" {
		t.Errorf("the newest: %+v", got)
	}
	if got := read(t, s, Query{Kinds: []string{"cpu"}, Before: all[10].ID, Limit: 5}); len(got) != 5 || got[4].ID != all[9].ID {
		t.Errorf("those before: %+v", got)
	}
	if got := read(t, s, Query{Kinds: []string{"cpu"}, Since: all[10].At, Until: all[12].At}); len(got) != 2 || got[0].ID != all[10].ID {
		t.Errorf("of a time: %+v", got)
	}
	public, err := s.Read(t.Context(), Query{Kinds: []string{"public"}})
	must(t, err)
	if len(public) != 1 || len(public[0].Payload) != 0 {
		t.Errorf("public: %+v", public)
	}
	if roots, err := s.Roots(t.Context(), time.Now().Add(-time.Minute)); err != nil || len(roots) != 1 || roots[0] != "bank/web1" {
		t.Errorf("roots %q, %v", roots, err)
	}
	if _, err := s.Read(t.Context(), Query{}); err == nil {
		t.Error("no kinds: taken")
	}
}

func TestOldRecordsGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	s, _ := openStore(t, path, Limits{})
	s.Add(record(1, "cpu", 2*time.Hour))
	s.Add(record(2, "cpu", time.Minute))
	s.Add(record(3, "alerts", 2*time.Hour))
	must(t, s.Close())
	s, _ = openStore(t, path, Limits{Age: map[string]time.Duration{"cpu": time.Hour}})
	s.prune(time.Now())
	if got := read(t, s, Query{Kinds: []string{"cpu", "alerts"}}); len(got) != 2 || got[0].Kind != "cpu" || got[1].Kind != "alerts" {
		t.Errorf("%+v", got)
	}
	must(t, s.Close())
}

func TestTheFileStaysWithinItsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	const bound = 1 << 20
	s, _ := openStore(t, path, Limits{Bytes: bound})
	payload := bytes.Repeat([]byte("x"), 1000)
	for i := range 4000 {
		r := record(i, "network", time.Minute)
		r.Payload = payload
		s.Add(r)
		if i%1000 == 999 {
			time.Sleep(100 * time.Millisecond) // the queue holds 4,096
		}
	}
	s.Add(record(7, "alerts", 0))
	must(t, s.Close())
	s, _ = openStore(t, path, Limits{Bytes: bound})
	s.prune(time.Now())
	all := read(t, s, Query{Kinds: []string{"network"}})
	if len(all) < 500 || len(all) > 1000 {
		t.Errorf("%d records are left", len(all))
	}
	if got := read(t, s, Query{Kinds: []string{"alerts"}}); len(got) != 1 {
		t.Errorf("the newest is gone: %+v", got)
	}
	must(t, s.Close())
	if info, err := os.Stat(path); err != nil || info.Size() > 3*bound/2 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
}

func TestABrokenFileIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	must(t, os.WriteFile(path, bytes.Repeat([]byte("no database. "), 1000), 0o600))
	s, said := openStore(t, path, Limits{})
	s.Add(record(1, "cpu", 0))
	must(t, s.Close())
	if aside, err := filepath.Glob(path + ".broken-*"); err != nil || len(aside) != 1 || !strings.Contains(said.String(), "put aside") {
		t.Errorf("%q, %v, said %q", aside, err, said)
	}
}

func TestOneWriterAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	s, _ := openStore(t, path, Limits{})
	if _, err := Open(t.Context(), path, Limits{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "held by another") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a second one: %v", err)
	}
	must(t, s.Close())
	s, _ = openStore(t, path, Limits{})
	must(t, s.Close())
}

// What is refused stays in the queue, and is kept once it can be.
func TestAFullDiskLosesNothingThatComesAfter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { must(t, exec.Command("umount", dir).Run()) })
	s, said := openStore(t, filepath.Join(dir, "h.db"), Limits{})
	must(t, os.WriteFile(filepath.Join(dir, "filler"), bytes.Repeat([]byte{1}, 100<<10), 0o600))
	for i := range 1000 {
		r := record(i, "network", 0)
		r.Payload = bytes.Repeat([]byte("x"), 200)
		s.Add(r)
	}
	eventually(t, "a complaint", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.logged.IsZero()
	})
	must(t, os.Remove(filepath.Join(dir, "filler")))
	if out, err := exec.Command("mount", "-o", "remount,size=4m", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.Add(record(1, "alerts", 0))
	eventually(t, "the last record", func() bool { return len(read(t, s, Query{Kinds: []string{"alerts"}})) > 0 })
	if got := read(t, s, Query{Kinds: []string{"alerts", "network"}}); len(got) != 1001 {
		t.Errorf("%d records", len(got))
	}
	must(t, s.Close())
	if !strings.Contains(said.String(), "can't be written") {
		t.Errorf("said %q", said)
	}
}

// A file of an older weir is read, and gets what it lacks.
func TestOlderFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.Exec(`CREATE TABLE messages (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, root TEXT NOT NULL, kind TEXT NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL);
		INSERT INTO messages (at, root, kind, topic, payload) VALUES (1, 'bank/web1', 'cpu', 'x', '1')`)
	must(t, err)
	must(t, db.Close())
	for range 2 {
		s, said := openStore(t, path, Limits{})
		s.Add(Record{At: time.UnixMilli(2), Root: "bank/web1", Kind: "cpu", Topic: "x", Refused: "forged"})
		must(t, s.Close())
		if said.Len() > 0 {
			t.Error(said)
		}
	}
	s, _ := openStore(t, path, Limits{})
	defer func() { must(t, s.Close()) }()
	if all := read(t, s, Query{Kinds: []string{"cpu"}}); len(all) != 3 || all[0].Refused != "" || all[1].Refused != "forged" {
		t.Errorf("%+v", all)
	}
}

// Bringing a big file up to date takes long: whoever asks weir to end doesn't wait for it, and nothing is lost.
func TestAnOlderFileKeepsNobodyFromEnding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	s, _ := openStore(t, path, Limits{})
	must(t, s.Close())
	const n = 20_000
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.Exec(fmt.Sprintf(`DROP INDEX messages_by_height; DROP INDEX messages_by_age;
		WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < %d)
		INSERT INTO messages (at, root, kind, topic, payload, height) SELECT n, 'bank/web1', 'cpu', 'x', '1', abs(random()) FROM i`, n))
	must(t, err)
	must(t, db.Close())

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(3*time.Millisecond, cancel) // the indexes take ten times as long on a fast machine
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if s, err := Open(ctx, path, Limits{}, log); !errors.Is(err, context.Canceled) {
		if err == nil {
			must(t, s.Close())
		}
		t.Fatalf("it went on: %v", err)
	}
	if names, err := filepath.Glob(path + ".broken-*"); err != nil || len(names) > 0 {
		t.Errorf("put aside: %q, %v", names, err)
	}
	s, _ = openStore(t, path, Limits{})
	defer func() { must(t, s.Close()) }()
	if all := read(t, s, Query{Kinds: []string{"cpu"}, Limit: n + 1}); len(all) != n {
		t.Errorf("%d records", len(all))
	}
}
