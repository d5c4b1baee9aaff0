package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// cookieGrace is how long final ACKs are accepted after the last challenge: a cookie lives no shorter.
const cookieGrace = time.Minute

// DefaultUnverified is what starts ChallengeAuto: a bank's busiest morning brings fewer new customers a second, and a flood of
// 100,000 SYNs a second is recognised within 10 ms.
var DefaultUnverified = Limit{Rate: 1000, Burst: 1000}

// Validate names what is wrong.
func (p ChallengePolicy) Validate() error {
	switch {
	case p.When > ChallengeAuto:
		return fmt.Errorf("challenge policy %d: give never, always or auto", p.When)
	case p.When != ChallengeAuto && p.Armed != 0:
		return errors.New("only the challenge policy auto can act by itself")
	case p.Armed < 0 || p.Armed > MaxLease:
		return fmt.Errorf("lease of %v: give a time up to %v", p.Armed, MaxLease)
	case p.When == ChallengeNever:
		return nil
	}
	if err := p.Unverified.within(MaxTotalRate, MaxTotalBurst); err != nil {
		return fmt.Errorf("SYNs of unverified sources: %w", err)
	}
	return nil
}

// Challenge chooses when SYNs to a listener are answered by cookies. It acts as Enable does: only while the mode is enforce
// and the lease lasts, or while it is armed. It reads the calling thread's network namespace for what SYN-ACKs may offer, and
// wraps ErrNoChallenge where kernel, interface or settings rule it out; then nothing is challenged any more.
func (s *Switch) Challenge(policy ChallengePolicy) error {
	if err := policy.Validate(); err != nil {
		return err
	}
	if policy.When == ChallengeNever {
		return s.change(func(raw *bpfWeirControl) {
			raw.ArmedUntilNs = 0
			raw.endAccept(monotonicNow())
			raw.Challenge = uint32(ChallengeNever)
		})
	}
	p, err := locate(s.bpffs, s.iface)
	if err != nil {
		return err
	}
	now, err := s.terms()
	if err != nil {
		return err
	}
	var noChallenge error
	err = s.change(func(raw *bpfWeirControl) {
		can, err := p.canChallenge()
		if err != nil || !can {
			noChallenge = errors.Join(err, fmt.Errorf("%w on %s: Linux 6.0 or later is needed: see what weir said at its start",
				ErrNoChallenge, p.iface))
			return
		}
		raw.Challenge = uint32(policy.When)
		raw.Unverified = policy.Unverified.raw(uint64(time.Second))
		raw.ArmedUntilNs = 0
		if policy.Armed > 0 {
			raw.ArmedUntilNs = monotonicNow() + uint64(policy.Armed)
		}
		now.note(raw)
		raw.accept()
	})
	if err = errors.Join(err, noChallenge); err != nil {
		return err
	}
	return s.open(bpfMapBudgets, noteTracking)
}

// accept lets final ACKs open connections for as long as the datapath may challenge, and a while longer.
func (raw *bpfWeirControl) accept() {
	if raw.Challenge == uint32(ChallengeNever) {
		return
	}
	var until uint64
	if raw.Mode == modeEnforce {
		until = raw.UntilNs
	}
	if until = max(until, raw.ArmedUntilNs); until > 0 {
		raw.AcceptUntilNs = until + uint64(cookieGrace)
	}
}

// endAccept cuts that short once the challenge ends.
func (raw *bpfWeirControl) endAccept(now uint64) {
	raw.AcceptUntilNs = min(raw.AcceptUntilNs, max(now, raw.ArmedUntilNs)+uint64(cookieGrace))
}

// canChallenge tells whether SYNs can be answered by cookies: our own, if there is a tc program beside XDP's, or the kernel's.
func (p place) canChallenge() (_ bool, err error) {
	if own, err := p.has(pinAcceptLink); err != nil || own {
		return own, err
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir(), bpfMapInfo), readOnly)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	info, err := readInfo(m)
	return info.KernelCookies != 0, err
}

// loadChallenge loads all programs, with the best challenge that is to be had here: by our own cookies, which tc's program takes
// that it attaches, by the kernel's, or none. The attachment says why by nothing better.
func (a *Attachment) loadChallenge(p place, c *constants, maps map[string]*ebpf.Map, old bool) (*bpfObjects, link.Link, error) {
	c.challenge, c.accept = true, true
	objs, accept, refusal := c.loadAccept(p, maps, old)
	if refusal == nil || isTransient(refusal) {
		return objs, accept, refusal
	}
	c.accept = false
	objs, err := c.load(maps)
	if err == nil {
		a.NoOwnCookies = refusal
	} else if !isTransient(err) {
		a.NoChallenge = fmt.Errorf("%w: %w", ErrNoChallenge, err)
		c.challenge = false
		objs, err = c.load(maps)
	}
	return objs, nil, err
}

var errOldKernel = errors.New("the kernel is older than Linux 6.9")

// loadAccept loads all and attaches tc's program, which does nothing before XDP makes promises.
func (c constants) loadAccept(p place, maps map[string]*ebpf.Map, old bool) (*bpfObjects, link.Link, error) {
	if old {
		return nil, nil, errOldKernel
	}
	if err := haveAssign(); err != nil {
		return nil, nil, err
	}
	objs, err := c.load(maps)
	if err != nil {
		return nil, nil, err
	}
	l, err := attachAccept(p, objs.WeirAccept)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("attach tc's program to %s: %w", p.iface, err), objs.Close())
	}
	return objs, l, nil
}

// haveAssign asks the kernel's types for the function that opens connections, sooner than the verifier would tell.
func haveAssign() error {
	const name = "bpf_sk_assign_tcp_reqsk"
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("read the kernel's types: %w", err)
	}
	var f *btf.Func
	if err := kernel.TypeByName(name, &f); err != nil {
		return fmt.Errorf("%w: it has no %s", errOldKernel, name)
	}
	return nil
}

// attachAccept puts it before all other tc programs: they see connections as if the kernel had made them itself.
func attachAccept(p place, prog *ebpf.Program) (link.Link, error) {
	return link.AttachTCX(link.TCXOptions{Interface: p.ifindex, Program: prog, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
}

// discardTC detaches a program of tc's, if there is one.
func discardTC(dir, pin string) error {
	l, err := link.LoadPinnedLink(filepath.Join(dir, pin), nil)
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
