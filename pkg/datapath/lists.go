package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ListKind is what a list entry says of the packets from its prefix; enum weir_list_kind.
type ListKind uint32

// The kinds.
const (
	ListBlock  ListKind = 1 + iota // dropped, whatever the mode, but to a management port
	ListAllow                      // pass, up to the ceiling
	ListExempt                     // judged like others, but not dropped, up to the ceiling
)

func (k ListKind) String() string {
	switch k {
	case ListBlock:
		return "block"
	case ListAllow:
		return "allow"
	case ListExempt:
		return "exempt"
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// The bounds of the lists.
const (
	MaxConfigured = 1_000_000 // entries of the configuration
	MaxCommanded  = 10_000    // entries of commands
	MaxExempt     = 256       // addresses
	MaxListTTL    = 24 * time.Hour

	DefaultCeiling = 100_000 // packets per second of an allowed prefix
	MaxCeiling     = 1_000_000
)

// ErrTooMany is returned for an entry more than the lists take.
var ErrTooMany = errors.New("the lists are full")

// ListEntry is one entry of a list. Of several that hold an address the longest prefix counts; of the same prefix an
// exemption before a command before the configuration.
type ListEntry struct {
	Prefix netip.Prefix // masked; IPv4 or IPv6, not the one within the other
	Kind   ListKind
	TTL    time.Duration // left; 0 for entries of the configuration, which stay while a controller holds them
	Since  time.Time
	Origin string // cut to 63 bytes
	Reason string // cut to 131 bytes
}

func (e ListEntry) validate() error {
	switch {
	case !e.Prefix.IsValid() || e.Prefix != e.Prefix.Masked() || e.Prefix.Addr().Is4In6():
		return fmt.Errorf("%v is no prefix", e.Prefix)
	case e.Kind < ListBlock || e.Kind > ListExempt:
		return fmt.Errorf("%v: no such list", e.Kind)
	case e.TTL <= 0 || e.TTL > MaxListTTL:
		return fmt.Errorf("a list entry for %v: give a time up to %v", e.TTL, MaxListTTL)
	}
	return nil
}

// ListSettings are the entries of the configuration and what allowed prefixes may send.
type ListSettings struct {
	Block, Allow []netip.Prefix
	Ceiling      uint64 // packets per second of each allowed or exempt prefix
}

// Validate names what is wrong.
func (s ListSettings) Validate() error {
	if s.Ceiling < 1 || s.Ceiling > MaxCeiling {
		return fmt.Errorf("ceiling %d: give 1 to %d packets per second", s.Ceiling, MaxCeiling)
	}
	if n := len(s.Block) + len(s.Allow); n > MaxConfigured {
		return fmt.Errorf("%d list entries: give %d at most", n, MaxConfigured)
	}
	return s.checkLengths(nil)
}

// checkLengths returns errLengths if these entries don't fit into one table beside those of others, and room for a single address:
// who is logged in must be exempt.
func (s ListSettings) checkLengths(others map[bpfWeirListKey]ListEntry) error {
	lengths := map[int]bool{128: true}
	note := func(p netip.Prefix) {
		if p.Addr().Is6() && p.Bits() > 0 {
			lengths[p.Bits()] = true
		}
	}
	for _, p := range s.Block {
		note(p)
	}
	for _, p := range s.Allow {
		note(p)
	}
	for _, e := range others {
		note(e.Prefix)
	}
	if len(lengths) > maxLengths {
		return errLengths
	}
	return nil
}

// rows are those of the configuration, each prefix once, without those that somebody else has an entry for. A prefix on
// both lists is allowed.
func (s ListSettings) rows(ipv6 bool, others map[netip.Prefix]bool) []listRow {
	rows := make([]listRow, 0, len(s.Block)+len(s.Allow))
	seen := make(map[netip.Prefix]bool, len(s.Block)+len(s.Allow))
	for _, list := range []struct {
		prefixes []netip.Prefix
		kind     ListKind
	}{{s.Allow, ListAllow}, {s.Block, ListBlock}} {
		for _, p := range list.prefixes {
			if p.Addr().Is6() == ipv6 && !others[p] && !seen[p] {
				seen[p] = true
				rows = append(rows, listRow{p, list.kind, listHeld})
			}
		}
	}
	return rows
}

// ListCounts are what the lists hold and act by now.
type ListCounts struct {
	Block, Allow, Exempt int
	Ceiling              uint64        // packets per second of each allowed prefix
	Held                 time.Duration // left until the entries of the configuration end by themselves
}
