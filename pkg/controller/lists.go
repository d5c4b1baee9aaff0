package controller

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/prefixlist"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Lister changes the datapath's lists. Errors tell an operator what to do.
type Lister interface {
	// Hold keeps the entries of the configuration in force for a while more.
	Hold(lease time.Duration) error
	Put(entries ...datapath.ListEntry) error
	// Remove takes back what a command has put there, and reports whether there was anything.
	Remove(p netip.Prefix, kind datapath.ListKind) (bool, error)
}

// Lists is what list commands act on, and what they must not.
type Lists struct {
	Lister Lister
	Logins func() ([]netip.Addr, error) // where administrators are logged in from now
	Own    func() ([]netip.Addr, error) // this host's addresses
}

const (
	listsEvery  = 5 * time.Second
	listTTL     = time.Hour // of commands without ttl_seconds
	exemptAfter = 10 * time.Minute
	// An exemption is renewed this long before its end, not with every look: each change makes a table.
	exemptSlack = 9 * time.Minute
)

// The widest prefixes that a command may name.
const (
	shortest4 = 8
	shortest6 = 16
)

// lists are the controller's part in them.
type lists struct {
	Lists
	next   time.Time
	exempt map[netip.Addr]time.Time // until when
}

// KeepLists has the controller hold the lists, carry out commands for them and exempt whoever is logged in. It is to be
// called before Run.
func (c *Controller) KeepLists(l Lists) {
	c.lists = &lists{Lists: l, exempt: map[netip.Addr]time.Time{}}
}

// keepLists holds the configured entries, and exempts the addresses of whoever is logged in until ten minutes after the
// logout.
func (c *Controller) keepLists(now time.Time) {
	l := c.lists
	l.next = now.Add(min(listsEvery, c.cfg.RenewEvery))
	if err := l.Lister.Hold(c.cfg.Lease); err != nil {
		if errors.Is(err, datapath.ErrNotAttached) {
			l.next = now.Add(retryEvery)
		}
		clear(l.exempt) // a datapath made anew knows none
		c.warnings.Warn(now, "the lists can't be held", "err", err)
		return
	}
	c.exemptLogins(now)
}

func (c *Controller) exemptLogins(now time.Time) {
	l := c.lists
	logins, err := l.Logins()
	if err != nil {
		c.warnings.Warn(now, "who is logged in can't be found out: their addresses aren't exempt", "err", err)
	}
	var due []datapath.ListEntry
	for _, a := range logins {
		if until := l.exempt[a]; until.Sub(now) <= exemptSlack && !a.IsLoopback() {
			due = append(due, datapath.ListEntry{
				Prefix: netip.PrefixFrom(a, a.BitLen()), Kind: datapath.ListExempt, TTL: exemptAfter, Since: now,
				Origin: ownOrigin, Reason: "logged in by SSH",
			})
		}
	}
	for a, until := range l.exempt {
		if now.After(until) {
			delete(l.exempt, a)
		}
	}
	if room := datapath.MaxExempt - len(l.exempt); len(due) > room {
		c.warnings.Warn(now, "more addresses are logged in than can be exempt", "exempt", datapath.MaxExempt, "left", len(due)-room)
		due = slices.DeleteFunc(due, func(e datapath.ListEntry) bool { return l.exempt[e.Prefix.Addr()].IsZero() })
	}
	if len(due) == 0 {
		return
	}
	if err := l.Lister.Put(due...); err != nil {
		c.warnings.Warn(now, "who is logged in can't be exempt", "err", err)
		return
	}
	for _, e := range due {
		if l.exempt[e.Prefix.Addr()].IsZero() {
			c.log.Info("logged in by SSH: exempt from automatic verdicts", "address", e.Prefix.Addr())
		}
		l.exempt[e.Prefix.Addr()] = now.Add(exemptAfter)
	}
}

// list puts a source on a list.
func (c *Controller) list(now time.Time, cmd wire.Command, kind datapath.ListKind) (string, error) {
	p, err := c.listPrefix(cmd)
	if err != nil {
		return "", err
	}
	if p.Addr().Is4() && p.Bits() < shortest4 || p.Addr().Is6() && p.Bits() < shortest6 {
		return "", fmt.Errorf("%v is too wide for a command: give an IPv4 /%d or IPv6 /%d at most, or configure it", p, shortest4, shortest6)
	}
	if kind == datapath.ListBlock {
		if err := c.mayBlock(now, p); err != nil {
			return "", err
		}
	}
	ttl := listTTL
	if cmd.TTLSeconds > 0 {
		ttl = time.Duration(cmd.TTLSeconds * float64(time.Second))
	}
	if err := c.lists.Lister.Put(datapath.ListEntry{
		Prefix: p, Kind: kind, TTL: ttl, Since: now, Origin: owner(cmd), Reason: cmd.Reason,
	}); err != nil {
		return "", err
	}
	c.log.Info("listed", "source", p, "list", kind.String(), "for", ttl, "origin", owner(cmd), "id", cmd.ID, "reason", cmd.Reason)
	what := map[datapath.ListKind]string{datapath.ListBlock: "blocked", datapath.ListAllow: "allowed"}[kind]
	return fmt.Sprintf("%s is %s for %v", name(p), what, ttl), nil
}

// unlist takes back what a command has put on a list.
func (c *Controller) unlist(now time.Time, cmd wire.Command, kind datapath.ListKind) (string, error) {
	p, err := c.listPrefix(cmd)
	if err != nil {
		return "", err
	}
	found, err := c.lists.Lister.Remove(p, kind)
	if err != nil {
		return "", err
	}
	if !found {
		return "", fmt.Errorf("no command has put %s on the %v list; entries of the configuration are taken back there", name(p), kind)
	}
	c.log.Info("taken off a list", "source", p, "list", kind.String(), "origin", owner(cmd), "id", cmd.ID, "reason", cmd.Reason)
	return fmt.Sprintf("%s is off the %v list", name(p), kind), nil
}

func (c *Controller) listPrefix(cmd wire.Command) (netip.Prefix, error) {
	if c.lists == nil {
		return netip.Prefix{}, errors.New("this controller keeps no lists")
	}
	return prefixlist.Parse(cmd.Source)
}

// mayBlock refuses to lock out an administrator or the host itself.
func (c *Controller) mayBlock(now time.Time, p netip.Prefix) error {
	if p.Overlaps(netip.MustParsePrefix("127.0.0.0/8")) || p.Contains(netip.IPv6Loopback()) {
		return fmt.Errorf("%v holds this host's loopback", p)
	}
	own, err := c.lists.Own()
	if err != nil {
		return fmt.Errorf("find this host's addresses: %w", err)
	}
	for _, a := range own {
		if p.Contains(a) {
			return fmt.Errorf("%v holds this host's own address %v", p, a)
		}
	}
	logins, err := c.lists.Logins()
	if err != nil {
		return fmt.Errorf("find who is logged in: %w", err)
	}
	for a, until := range c.lists.exempt {
		if now.Before(until) {
			logins = append(logins, a)
		}
	}
	for _, a := range logins {
		if p.Contains(a) {
			return fmt.Errorf("%v holds %v, from where somebody is or was just logged in by SSH", p, a)
		}
	}
	return nil
}

// name leaves the length of single addresses out.
func name(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
