// Package history keeps what came over the broker in one SQLite file, bounded by age and size. It alone imports SQLite. Writing never
// makes a caller wait: what a full or broken disk doesn't take is counted and given up, oldest first.
package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite" // pure Go: weir stays one static binary
)

// Record is a message.
type Record struct {
	ID      int64 // in the order of arrival; 0 before it is kept
	At      time.Time
	Root    string // of the server that it is about; "" for public messages
	Kind    string // metrics have one per topic, as have alerts and so on: the reader's to choose
	Topic   string
	Payload []byte
	Refused string   // why it counted for nothing; "" for what was believed
	Height  *float64 // what Query.Step compares it by; nil for none
}

// Limits bound the file. Zero is no bound.
type Limits struct {
	Age   map[string]time.Duration // of each kind
	Bytes int64                    // of the file, more or less
}

// Store is one file.
type Store struct {
	db     *sql.DB
	lock   *os.File
	limits Limits
	log    *slog.Logger
	queue  chan *Record // mostly empty: records themselves would take half a megabyte
	end    context.CancelFunc
	ended  sync.WaitGroup

	path   string
	lost   int    // records, since it was logged; the writer's and under mu
	gone   uint64 // records lost in all; likewise
	mu     sync.Mutex
	logged time.Time
}

const (
	queueLen   = 4096
	batchLen   = 1024
	retryAfter = time.Second
	pruneEvery = time.Minute
	logEvery   = time.Minute
	busyMillis = 5000
	cacheKB    = 256 // of each connection; the kernel caches the file as well
)

const schema = `
CREATE TABLE IF NOT EXISTS messages (
	id INTEGER PRIMARY KEY,
	at INTEGER NOT NULL, -- Unix milliseconds
	root TEXT NOT NULL,
	kind TEXT NOT NULL,
	topic TEXT NOT NULL,
	payload BLOB NOT NULL,
	refused TEXT NOT NULL DEFAULT '',
	height REAL
);
`

// The first index holds all that Query.Step looks at, so that a week's peaks are found without a week's payloads.
const indexes = `
DROP INDEX IF EXISTS messages_by_kind;
CREATE INDEX IF NOT EXISTS messages_by_height ON messages (root, kind, at, height);
CREATE INDEX IF NOT EXISTS messages_by_age ON messages (kind, at);
`

// Open opens a file or makes it. One that isn't a database, or a broken one, is put aside, not overwritten. A file of an older weir may
// take minutes to be brought up to date: when ctx ends that is given up, and nothing has changed.
func Open(ctx context.Context, path string, limits Limits, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	s, err := openLocked(ctx, path, limits, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

// takeLock sees to it that one process alone writes to a file: two that hear the same would keep everything twice. It lasts as long as
// the process; SQLite's own locks are for single transactions.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is held by another weir", path), f.Close())
	}
	return f, nil
}

func openLocked(ctx context.Context, path string, limits Limits, log *slog.Logger) (*Store, error) {
	db, err := open(ctx, path)
	if isBroken(err) {
		aside := fmt.Sprintf("%s.broken-%d", path, time.Now().Unix())
		log.Warn("the history can't be read: it is put aside, and a new one begun", "file", aside, "err", err)
		if err := putAside(path, aside); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		db, err = open(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("history: %s: %w", path, err)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{db: db, path: path, limits: limits, log: log, queue: make(chan *Record, queueLen), end: end}
	s.ended.Go(func() { s.write(ctx) })
	return s, nil
}

func open(ctx context.Context, path string) (*sql.DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable for all
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_pragma=auto_vacuum(INCREMENTAL)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"+
		"&_pragma=busy_timeout(%d)&_pragma=cache_size(-%d)&_txlock=immediate", (&url.URL{Path: path}).EscapedPath(), busyMillis, cacheKB))
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// prepare makes the tables, and brings a file of an older weir up to date.
func prepare(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	for column, kind := range map[string]string{"refused": "TEXT NOT NULL DEFAULT ''", "height": "REAL"} {
		var there int
		err := db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_table_info('messages') WHERE name = ?", column).Scan(&there)
		if err == nil && there == 0 {
			_, err = db.ExecContext(ctx, "ALTER TABLE messages ADD COLUMN "+column+" "+kind)
		}
		if err != nil {
			return err
		}
	}
	_, err := db.ExecContext(ctx, indexes)
	return err
}

// SQLite's results: https://www.sqlite.org/rescode.html.
const (
	sqliteCorrupt = 11
	sqliteNotADB  = 26
)

func isBroken(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqliteCorrupt || e.Code()&0xff == sqliteNotADB)
}

func putAside(path, aside string) error {
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Add keeps a record, soon. It never waits.
func (s *Store) Add(r Record) {
	for {
		select {
		case s.queue <- &r:
			return
		default:
		}
		select {
		case <-s.queue:
			s.lose(1)
		default:
		}
	}
}

// Close keeps what was added and closes the file.
func (s *Store) Close() error {
	s.end()
	s.ended.Wait()
	return errors.Join(s.db.Close(), s.lock.Close())
}

func (s *Store) lose(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost += n
	s.gone += uint64(n)
}

// Stats are what is kept, and what couldn't be.
type Stats struct {
	Bytes int64  // of the file and of its log
	Lost  uint64 // records, since it was opened
}

// Stats may be called from any goroutine.
func (s *Store) Stats() (Stats, error) {
	s.mu.Lock()
	out := Stats{Lost: s.gone}
	s.mu.Unlock()
	for _, name := range []string{s.path, s.path + "-wal"} {
		info, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) && name != s.path {
			continue
		} else if err != nil {
			return out, fmt.Errorf("history: %w", err)
		}
		out.Bytes += info.Size()
	}
	return out, nil
}

func (s *Store) complain(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.logged) < logEvery {
		return
	}
	s.log.Warn("the history can't be written: what comes meanwhile may be missing in it", "err", err, "lost", s.lost)
	s.logged, s.lost = time.Now(), 0
}
