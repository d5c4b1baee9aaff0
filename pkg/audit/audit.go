// Package audit keeps a log that tells when it was changed: each line bears the hash of the line before, and a file beside it the hash of
// the last. Whoever is root can write all of it anew; what he can't do is change it and match a head that was noted elsewhere.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/console"
)

// Event is what happened. Empty fields are left out.
type Event struct {
	Kind     string `json:"kind"`                // command, refused, signed_in, …
	Command  string `json:"command,omitempty"`   //
	Source   string `json:"source,omitempty"`    // that the command is about
	Servers  int    `json:"servers,omitempty"`   // that the command adds or takes away
	Server   string `json:"server,omitempty"`    // the topics' prefix
	ID       string `json:"id,omitempty"`        // of the command
	Origin   string `json:"origin,omitempty"`    // as the command claims
	SignedBy string `json:"signed_by,omitempty"` // as was verified
	User     string `json:"user,omitempty"`      // of the page
	Role     string `json:"role,omitempty"`
	From     string `json:"from,omitempty"` // address
	Result   string `json:"result,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Count    int    `json:"count,omitempty"` // of events that this line stands for
}

// line is one in the file. Its order is that of the fields.
type line struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	Host      string    `json:"host,omitempty"`
	Component string    `json:"component,omitempty"`
	Event
	Prev string `json:"prev"` // SHA-256 of the line before, without its end, in hexadecimal; "" for the first
}

// The kinds that the log writes of itself.
const (
	KindOpened = "log_opened"
	KindTorn   = "log_torn"   // the last line was half written, and is kept aside
	KindLost   = "log_lost"   // Count events couldn't be written
	KindFolded = "log_folded" // Count events were too many in one second
)

// Options of a log.
type Options struct {
	Path      string // of the current file; older ones are beside it
	Host      string
	Component string
	Bytes     int64 // of a file, until the next is begun
	Files     int   // older ones that are kept
}

// maxPerSecond keeps a flood of refused commands from filling the disk, or waiting for it.
const maxPerSecond = 100

// maxDetail bounds what comes from outside.
const maxDetail = 1024

// maxQueued is how many wait for a disk that is slow.
const maxQueued = 1024

// Log is open for writing. It is safe for use side by side; a nil one notes nothing.
type Log struct {
	opts       Options
	log        *slog.Logger
	complaints console.Complaints
	queue      chan *entry
	ended      chan struct{}

	mu     sync.Mutex
	closed bool
	lost   int
	second int64 // for maxPerSecond
	count  int
	folded int

	// The writer's own.
	lock *os.File
	file *os.File // nil until it can be written
	size int64
	seq  uint64
	prev string
}

type entry struct {
	at time.Time
	Event
}

// Open opens a log or begins one. Another process that has it is an error, and so is a file that isn't a log; a disk that takes nothing
// now isn't.
func Open(opts Options, now time.Time, log *slog.Logger) (_ *Log, err error) {
	l := &Log{
		opts: opts, log: log, complaints: console.Complaints{Log: log, Every: time.Minute},
		queue: make(chan *entry, maxQueued), ended: make(chan struct{}),
	}
	if err := os.MkdirAll(filepath.Dir(opts.Path), 0o700); err != nil {
		return nil, err
	}
	if l.lock, err = os.OpenFile(opts.Path+".lock", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.lock.Close())
		}
	}()
	if err := unix.Flock(int(l.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s is another process's: name another folder in audit.dir", opts.Path)
	}
	torn, err := l.resume(now)
	if err != nil {
		return nil, err
	}
	go l.run()
	log.Info("audit log", "file", opts.Path, "seq", l.seq, "head", l.prev)
	if torn != "" {
		l.Note(now, Event{Kind: KindTorn, Detail: "the half line is in " + torn})
	}
	l.Note(now, Event{Kind: KindOpened})
	return l, nil
}

// closeWait is how long Close waits for the disk.
const closeWait = 2 * time.Second

// Close writes what waits, unless the disk doesn't take it in time.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	again := l.closed
	if !again {
		l.settle(time.Now())
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	select {
	case <-l.ended:
	case <-time.After(closeWait):
		return fmt.Errorf("%s: the disk doesn't answer: the last events aren't there", l.opts.Path)
	}
	if again {
		return nil
	}
	err := l.lock.Close()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return err
}

// Note hands an event to the writer. Nobody waits for the disk; what can't be written is counted, and told of in the log and in the next
// line that can.
func (l *Log) Note(now time.Time, e Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if second := now.Unix(); second != l.second {
		l.settle(now)
		l.second, l.count = second, 0
	}
	if l.count++; l.count > maxPerSecond {
		l.folded++
		return
	}
	l.put(now, e)
}

// settle tells of what was folded. mu is held.
func (l *Log) settle(now time.Time) {
	if l.folded > 0 {
		l.put(now, Event{Kind: KindFolded, Count: l.folded})
		l.folded = 0
	}
}

// put queues an event. mu is held.
func (l *Log) put(now time.Time, e Event) {
	select {
	case l.queue <- &entry{now, e}:
	default:
		l.lost += max(1, e.Count)
	}
}

// run is the writer.
func (l *Log) run() {
	defer close(l.ended)
	for x := range l.queue {
		if lost := l.takeLost(); lost > 0 && l.write(x.at, Event{Kind: KindLost, Count: lost}) != nil {
			l.lose(x.at, lost, nil)
		}
		if err := l.write(x.at, x.Event); err != nil {
			l.lose(x.at, max(1, x.Count), err)
		}
	}
}

func (l *Log) takeLost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.lost
	l.lost = 0
	return n
}

func (l *Log) lose(now time.Time, n int, err error) {
	l.mu.Lock()
	l.lost += n
	lost := l.lost
	l.mu.Unlock()
	if err != nil {
		l.complaints.Warn(now, "an event isn't in the audit log: see to the disk", "file", l.opts.Path, "lost", lost, "err", err)
	}
}

// write appends one line, on disk, and then the head.
func (l *Log) write(now time.Time, e Event) (err error) {
	if len(e.Detail) > maxDetail {
		e.Detail = e.Detail[:maxDetail]
	}
	text, err := json.Marshal(line{l.seq + 1, now.UTC(), l.opts.Host, l.opts.Component, e, l.prev})
	if err != nil {
		return err
	}
	if l.file != nil && l.size > 0 && l.size+int64(len(text)) >= l.opts.Bytes {
		if err := l.rotate(); err != nil {
			l.complaints.Warn(now, "the audit log can't be rotated: it grows on", "file", l.opts.Path, "err", err)
		}
	}
	if l.file == nil {
		if l.file, err = os.OpenFile(l.opts.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			return err
		}
		info, err := l.file.Stat()
		if err != nil {
			return err
		}
		l.size = info.Size()
	}
	if _, err = l.file.Write(append(text, '\n')); err == nil {
		err = l.file.Sync()
	}
	if err != nil { // half a line may be there: the next one must not follow it
		return errors.Join(err, l.file.Truncate(l.size))
	}
	l.seq, l.prev, l.size = l.seq+1, sum(text), l.size+int64(len(text))+1
	l.writeHead()
	return nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// head is the last line's number and hash.
type head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

func headFile(path string) string { return path + ".head" }

// writeHead follows the line: it is never ahead of it, and if it can't be written it is only older.
func (l *Log) writeHead() {
	text, err := json.Marshal(head{l.seq, l.prev})
	if err != nil {
		return
	}
	next := headFile(l.opts.Path) + ".new"
	if os.WriteFile(next, append(text, '\n'), 0o600) == nil {
		_ = os.Rename(next, headFile(l.opts.Path))
	}
}
