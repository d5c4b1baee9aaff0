package datapath

import (
	"errors"
	"fmt"
	"strings"
)

// Abilities are what this kernel lets this process do, found out by loading the very programs. Nil is yes, an error is why not.
type Abilities struct {
	Load       error // count and limit
	Challenge  error // SYN cookies from XDP, the kernel's at least
	OwnCookies error // cookies of our own, which need no settings of the kernel's
	Watch      error // see handshakes that the kernel completes itself
	Tracking   error // ask connection tracking for replies
	Note       error // see what leaves, so that replies to it are known
}

// Probe finds them out for an interface. Nothing stays, and nothing is attached but for a moment to tc, a program that does nothing.
func Probe(bpffs, iface string) (Abilities, error) {
	p, err := locate(bpffs, iface)
	if err != nil {
		return Abilities{}, err
	}
	base := constants{seed: newSeed(), secret: newSeed(), sources: MinSources}
	try := func(tracking bool, change func(*constants)) error {
		c := base
		change(&c)
		objs, err := c.loadWith(nil, tracking)
		if err != nil {
			return oneLine(err)
		}
		return objs.Close()
	}
	a := Abilities{Load: try(false, func(*constants) {})}
	if a.Load != nil {
		a.Challenge, a.OwnCookies, a.Watch, a.Tracking, a.Note = a.Load, a.Load, a.Load, a.Load, a.Load
		return a, nil
	}
	a.Tracking = try(true, func(*constants) {})
	a.Challenge = try(false, func(c *constants) { c.challenge = true })
	if a.OwnCookies = haveAssign(); a.OwnCookies == nil {
		a.OwnCookies = try(false, func(c *constants) { c.challenge, c.accept = true, true })
	}
	a.Watch = try(false, func(c *constants) { c.netns = p.netns })
	if !p.canNote() {
		a.Note = errors.New("tc takes no links: that is since Linux 6.6")
	}
	return a, nil
}

// oneLine leaves the verifier's log out.
func oneLine(err error) error {
	text, _, more := strings.Cut(err.Error(), "\n")
	if !more {
		return err
	}
	return fmt.Errorf("%s", text)
}

// Tier is how an interface is held now: "" for not at all, and who holds it if that isn't weir.
func Tier(bpffs, iface string) (tier string, err error) {
	r, err := OpenReader(bpffs, iface)
	if errors.Is(err, ErrNotAttached) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	info, err := r.Info()
	return info.Tier, errors.Join(err, r.Close())
}
