package datapath

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/link"

	"github.com/weir-sensor/weir/pkg/tc"
)

// Abilities are what this kernel lets this process do, found out by loading the very programs. Nil is yes, an error is why not.
type Abilities struct {
	Load       error // count and limit
	Generic    error // in XDP, on interfaces whose driver has none
	TC         error // by tc, where there is no XDP at all
	Challenge  error // SYN cookies from XDP, the kernel's at least
	OwnCookies error // cookies of our own, which need no settings of the kernel's
	Watch      error // see handshakes that the kernel completes itself
	Tracking   error // ask connection tracking for replies
	Note       error // see what leaves, so that replies to it are known
}

// Probe finds them out for an interface. Nothing stays, and nothing is attached to the interface but for a moment to tc, a program that
// does nothing; XDP and tc are tried on the loopback interface of a network namespace of their own.
func Probe(bpffs, iface string) (Abilities, error) {
	p, err := locate(bpffs, iface)
	if err != nil {
		return Abilities{}, err
	}
	base := constants{seed: newSeed(), secret: newSeed(), sources: MinSources}
	tryOn := func(tracking bool, change func(*constants), use func(*bpfObjects) error) error {
		c := base
		change(&c)
		objs, err := c.loadWith(nil, tracking)
		if err != nil {
			return oneLine(err)
		}
		return errors.Join(use(objs), objs.Close())
	}
	try := func(tracking bool, change func(*constants)) error {
		return tryOn(tracking, change, func(*bpfObjects) error { return nil })
	}
	var a Abilities
	a.Load = tryOn(false, func(*constants) {}, func(objs *bpfObjects) error {
		a.Generic = tc.Sandbox(func() error { return tryGeneric(objs) })
		return nil
	})
	if a.Load != nil {
		a.Generic, a.TC, a.Challenge, a.OwnCookies, a.Watch, a.Tracking, a.Note = a.Load, a.Load, a.Load, a.Load, a.Load, a.Load, a.Load
		return a, nil
	}
	a.TC = tryOn(false, func(c *constants) { c.tc = true }, func(objs *bpfObjects) error {
		return tc.Sandbox(func() error { return place{ifindex: loopback}.attachTC(objs.Weir) })
	})
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

// loopback is the index of lo in any network namespace.
const loopback = 1

func tryGeneric(objs *bpfObjects) error {
	l, err := link.AttachXDP(link.XDPOptions{Program: objs.Weir, Interface: loopback, Flags: link.XDPGenericMode})
	if err != nil {
		return err
	}
	return l.Close()
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
