package datapath

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// cookieGrace is how long final ACKs are accepted after the last challenge: a cookie lives no shorter.
const cookieGrace = time.Minute

// Challenge chooses when SYNs to a listener are answered by cookies. It acts as Enable does: only while the mode is enforce
// and the lease lasts. It reads the calling thread's network namespace for what SYN-ACKs may offer, and wraps ErrNoChallenge
// where kernel, interface or settings rule it out.
func (s *Switch) Challenge(c Challenge) error {
	if c > ChallengeAlways {
		return fmt.Errorf("challenge policy %d: give never or always", c)
	}
	if c == ChallengeNever {
		return s.change(func(raw *bpfWeirControl) {
			raw.endAccept(monotonicNow())
			raw.Challenge = uint32(c)
		})
	}
	p, err := locate(s.bpffs, s.iface)
	if err != nil {
		return err
	}
	iface, err := net.InterfaceByIndex(p.ifindex)
	if err != nil {
		return err
	}
	offer, err := readOffer()
	if err != nil {
		return err
	}
	var noChallenge error
	err = s.change(func(raw *bpfWeirControl) {
		can, err := p.canChallenge()
		if err != nil || !can {
			noChallenge = errors.Join(err, fmt.Errorf("%w on %s: Linux 6.9 or later is needed: see what weir said at its start",
				ErrNoChallenge, p.iface))
			return
		}
		raw.Challenge = uint32(c)
		raw.Offer = offer
		copy(raw.Mac[:], iface.HardwareAddr)
		raw.accept()
	})
	return errors.Join(err, noChallenge)
}

// accept lets final ACKs open connections for as long as the datapath may challenge, and a while longer.
func (raw *bpfWeirControl) accept() {
	if raw.Challenge != uint32(ChallengeNever) && raw.Mode == modeEnforce {
		raw.AcceptUntilNs = raw.UntilNs + uint64(cookieGrace)
	}
}

// endAccept cuts that short once the challenge ends.
func (raw *bpfWeirControl) endAccept(now uint64) {
	raw.AcceptUntilNs = min(raw.AcceptUntilNs, now+uint64(cookieGrace))
}

// canChallenge tells whether there is a tc program beside XDP's.
func (p place) canChallenge() (bool, error) {
	_, err := os.Stat(filepath.Join(p.dir(), pinAcceptLink))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// loadChallenge loads all programs and attaches tc's, which does nothing before XDP makes promises. The error says why the
// challenge can't be had here; then everything else must be loaded without it.
func (c constants) loadChallenge(p place) (*bpfObjects, link.Link, error) {
	objs, err := c.load(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoChallenge, err)
	}
	l, err := attachAccept(p, objs.WeirAccept)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%w: attach tc's program to %s: %w", ErrNoChallenge, p.iface, err), objs.Close())
	}
	return objs, l, nil
}

// attachAccept puts it before all other tc programs: they see connections as if the kernel had made them itself.
func attachAccept(p place, prog *ebpf.Program) (link.Link, error) {
	return link.AttachTCX(link.TCXOptions{Interface: p.ifindex, Program: prog, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
}

// discardAccept detaches tc's program.
func discardAccept(dir string) error {
	l, err := link.LoadPinnedLink(filepath.Join(dir, pinAcceptLink), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := l.Info()
	if tcx := info.TCX(); err == nil && tcx != nil && tcx.Ifindex != 0 { // else the interface took it along
		err = l.Detach()
	}
	return errors.Join(err, l.Close())
}
