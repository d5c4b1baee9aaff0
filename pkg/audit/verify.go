package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Checked is what was found in one file.
type Checked struct {
	File        string
	First, Last uint64
	Lines       int
}

// maxLine bounds what is read of a file that may be anything.
const maxLine = 64 << 10

// Verify walks through a log, the older files first, and stops at the first fault, which names file, line and reason. Where the first
// file begins isn't known to anybody but whoever noted a head before; where the last one ends is, by the head beside it.
func Verify(path string) ([]Checked, error) {
	files, err := older(path)
	if err != nil {
		return nil, err
	}
	switch _, err := os.Stat(path); {
	case err == nil:
		files = append(files, path)
	case !errors.Is(err, fs.ErrNotExist) || len(files) == 0:
		return nil, err
	}
	var all []Checked
	c := chain{}
	if h, err := readHead(path); err == nil {
		c.head = &h
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, file := range files {
		x, err := c.file(file)
		all = append(all, x)
		if err != nil {
			return all, err
		}
	}
	switch {
	case c.head == nil:
		return all, fmt.Errorf("%s is missing: whether lines were cut off at the end can't be told", headFile(path))
	case c.head.Seq > c.seq:
		return all, fmt.Errorf("%s ends with number %d, but had %d: lines were cut off", path, c.seq, c.head.Seq)
	case !c.met:
		return all, fmt.Errorf("%s names number %d, which isn't in any file", headFile(path), c.head.Seq)
	}
	return all, nil
}

func readHead(path string) (head, error) {
	var h head
	text, err := os.ReadFile(headFile(path))
	if err != nil {
		return h, err
	}
	if json.Unmarshal(text, &h) != nil || h.Seq == 0 {
		return h, fmt.Errorf("%s is broken", headFile(path))
	}
	return h, nil
}

// chain is where a walk has come to.
type chain struct {
	seq  uint64
	prev string
	head *head
	met  bool // the head's line was there, as it was
}

func (c *chain) file(path string) (x Checked, err error) {
	x.File = path
	err = eachLine(path, func(text []byte, l line) error {
		x.Lines++
		if x.First == 0 {
			x.First = l.Seq
		}
		x.Last = l.Seq
		if err := c.next(text, l); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, x.Lines, err)
		}
		return nil
	})
	return x, err
}

func (c *chain) next(text []byte, l line) error {
	switch {
	case c.seq == 0 && l.Seq == 1 && l.Prev != "":
		return errors.New("the first line has one before it")
	case c.seq == 0: // files before it are gone, by rotation
	case l.Seq != c.seq+1:
		return fmt.Errorf("number %d follows %d: lines are missing, doubled or in another order", l.Seq, c.seq)
	case l.Prev != c.prev:
		return fmt.Errorf("the line before it, number %d, was changed", c.seq)
	}
	c.seq, c.prev = l.Seq, sum(text)
	if c.head != nil && c.head.Seq == l.Seq {
		if c.head.Hash != c.prev {
			return fmt.Errorf("number %d was changed", l.Seq)
		}
		c.met = true
	}
	return nil
}

// eachLine reads a file's lines.
func eachLine(path string, f func(text []byte, l line) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return eachLineOf(file, path, f)
}

func eachLineOf(r io.Reader, path string, f func(text []byte, l line) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil || l.Seq == 0 {
			return fmt.Errorf("%s, line %d: no line of an audit log", path, n)
		}
		if err := f(s.Bytes(), l); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Record is a line as others read it.
type Record struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	Host      string    `json:"host,omitempty"`
	Component string    `json:"component,omitempty"`
	Event
}

// Each gives all lines of a log, oldest first, as they are; Verify tells whether they are as they were.
func Each(path string, f func(Record) error) error {
	files, err := older(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil || len(files) == 0 {
		files = append(files, path)
	}
	for _, file := range files {
		if err := eachLine(file, func(_ []byte, l line) error { return f(Record{l.Seq, l.Time, l.Host, l.Component, l.Event}) }); err != nil {
			return err
		}
	}
	return nil
}
