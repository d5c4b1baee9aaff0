// Package prefixlist reads lists of addresses and prefixes, as operators write them.
package prefixlist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// The bounds of a list.
const (
	MaxEntries = 1_000_000
	maxLine    = 4096 // bytes, its comment included
)

// Parse reads one address, or prefix without bits beyond its length: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32. Strictly, for
// a slip would block somebody else: no zone, no leading zeros, no IPv4 within IPv6. The error doesn't repeat the text.
func Parse(text string) (netip.Prefix, error) {
	var p netip.Prefix
	var err error
	if strings.Contains(text, "/") {
		p, err = netip.ParsePrefix(text)
	} else {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil && a.Zone() == "" {
			p = netip.PrefixFrom(a, a.BitLen())
		}
	}
	switch {
	case err != nil || !p.IsValid():
		return netip.Prefix{}, errors.New("give an address or a prefix, like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("write IPv4 addresses without ::ffff: before them")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("has bits beyond its length: write %v or %v", p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return p, nil
}

// ParseInline reads prefixes with commas or spaces between them.
func ParseInline(text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		p, err := Parse(field)
		if err != nil {
			return nil, fmt.Errorf("%.60q: %w", field, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// Read reads one prefix a line. Empty lines, and what follows a #, are left out. Errors begin with the name and the line.
func Read(r io.Reader, name string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, maxLine), maxLine)
	line := 0
	for s.Scan() {
		line++
		text, _, _ := strings.Cut(s.Text(), "#")
		text = strings.Trim(text, " \t\r")
		if line == 1 {
			text = strings.TrimPrefix(text, "\ufeff") // from an editor on Windows
		}
		if text == "" {
			continue
		}
		p, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %.60q: %w", name, line, text, err)
		}
		if len(list) == MaxEntries {
			return nil, fmt.Errorf("%s:%d: more than %d entries: join neighbours into shorter prefixes", name, line, MaxEntries)
		}
		list = append(list, p)
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s:%d: longer than %d bytes: is it the right file?", name, line+1, maxLine)
	}
	if s.Err() != nil {
		return nil, fmt.Errorf("%s: %w", name, s.Err())
	}
	return list, nil
}
