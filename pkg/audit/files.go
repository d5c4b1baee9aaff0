package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// rotated names a full file after its last line: audit.log.000000000123.
func rotated(path string, last uint64) string { return fmt.Sprintf("%s.%012d", path, last) }

// older are the full files of a log, oldest first.
func older(path string) ([]string, error) {
	all, err := filepath.Glob(escape(path) + "." + strings.Repeat("[0-9]", 12))
	slices.Sort(all)
	return all, err
}

// escape keeps what a path holds from being a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// rotate puts the current file aside; the next line begins another. A crash in between leaves a log that goes on all the same.
func (l *Log) rotate() error {
	if err := os.Rename(l.opts.Path, rotated(l.opts.Path, l.seq)); err != nil {
		return err
	}
	err := l.file.Close()
	l.file, l.size = nil, 0
	l.log.Info("audit log rotated", "file", rotated(l.opts.Path, l.seq), "seq", l.seq, "head", l.prev)
	all, e := older(l.opts.Path)
	err = errors.Join(err, e)
	for len(all) > l.opts.Files {
		err = errors.Join(err, os.Remove(all[0]))
		all = all[1:]
	}
	return err
}

// resume finds where the log ends, and puts half a line aside.
func (l *Log) resume(now time.Time) (torn string, err error) {
	text, err := os.ReadFile(l.opts.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if end := bytes.LastIndexByte(text, '\n') + 1; end < len(text) {
		torn = fmt.Sprintf("%s.torn-%d", l.opts.Path, now.UnixNano())
		if err := os.WriteFile(torn, text[end:], 0o600); err != nil {
			return "", err
		}
		if err := os.Truncate(l.opts.Path, int64(end)); err != nil {
			return "", err
		}
		text = text[:end]
	}
	if len(text) == 0 {
		all, err := older(l.opts.Path)
		if err != nil || len(all) == 0 {
			return torn, err
		}
		if text, err = os.ReadFile(all[len(all)-1]); err != nil {
			return "", err
		}
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	last := lines[len(lines)-1]
	var x line
	if err := json.Unmarshal(last, &x); err != nil || x.Seq == 0 {
		return "", fmt.Errorf("%s is no audit log: name another folder in audit.dir", l.opts.Path)
	}
	l.seq, l.prev = x.Seq, sum(last)
	return torn, nil
}
