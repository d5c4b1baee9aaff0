package datapath

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func (s *stage) challenge(c Challenge) (err error) {
	s.host.Do(s.t, func() {
		err = NewSwitch(s.opts.BPFFS, s.opts.Interface).Challenge(ChallengePolicy{When: c, Unverified: DefaultUnverified})
	})
	return err
}

// tcPrograms counts those of tcx on the stage's interface.
func (s *stage) tcPrograms(a *Attachment) int {
	s.t.Helper()
	var r *link.QueryResult
	var err error
	s.host.Do(s.t, func() {
		r, err = link.QueryPrograms(link.QueryOptions{Target: a.place.ifindex, Attach: ebpf.AttachTCXIngress})
	})
	must(s.t, err)
	return len(r.Programs)
}

func TestChallengeComesAndGoesWithTheDatapath(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	if info, err := a.Info(); err != nil || !info.Challenge || a.NoChallenge != nil {
		t.Fatalf("info %+v, %v, %v", info, err, a.NoChallenge)
	}
	must(t, s.enable(DefaultLimit, time.Hour))
	must(t, s.challenge(ChallengeAlways))
	if again := s.mustAttach(); !again.Adopted || again.Upgraded {
		t.Errorf("restart: %+v", again)
	}
	c, err := a.Control()
	must(t, err)
	if c.Challenge != ChallengeAlways {
		t.Errorf("control %+v", c)
	}
	if n := s.tcPrograms(a); n != 1 {
		t.Errorf("%d tc programs", n)
	}
	s.unload()
	if n := s.tcPrograms(a); n != 0 {
		t.Errorf("%d tc programs after unload", n)
	}
}

func TestWithoutTheChallengeAllElseWorks(t *testing.T) {
	c := constants{seed: newSeed(), sources: MinSources} // what a kernel before 6.0 is given
	te.Root(t)
	objs, err := c.load(nil)
	must(t, err)
	must(t, objs.Close())

	s := newStage(t)
	a := s.mustAttach()
	must(t, os.Remove(filepath.Join(a.place.dir(), pinAcceptLink)))
	if info, err := a.Info(); err != nil || info.Challenge {
		t.Errorf("info %+v, %v", info, err)
	}
	if err := s.challenge(ChallengeAlways); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("challenge says %v", err)
	}
	must(t, s.challenge(ChallengeNever))
	must(t, s.enable(DefaultLimit, time.Hour))
	if again := s.mustAttach(); !again.Adopted {
		t.Errorf("restart: %+v", again)
	}
}

func TestChallengeNeedsSYNCookies(t *testing.T) {
	s := newStage(t)
	s.mustAttach()
	s.host.Sysctl(t, "net/ipv4/tcp_syncookies", "0")
	if err := s.challenge(ChallengeAlways); !errors.Is(err, ErrNoChallenge) {
		t.Errorf("challenge says %v", err)
	}
}

// With tcp_syncookies 0 the kernel takes a request for a connection and forgets it: no SYN may be answered by cookies then, although one
// could be before.
func TestChallengeEndsWithSYNCookies(t *testing.T) {
	for name, look := range map[string]func(*Switch) error{
		"looked at": (*Switch).Recheck,
		"commanded anew": func(s *Switch) error {
			return s.Challenge(ChallengePolicy{When: ChallengeAlways, Unverified: DefaultUnverified})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newChallenged(t)
			b.echo()
			b.set(ChallengeAlways)
			roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
			b.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "0")
			b.Bank.Do(t, func() {
				if err := look(NewSwitch(b.opts.BPFFS, b.opts.Interface)); !errors.Is(err, ErrNoChallenge) {
					t.Errorf("it says %v", err)
				}
			})
			settle()
			before := b.txs()
			roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
			if n := b.txs() - before; n != 0 {
				t.Errorf("%d SYNs were answered by cookies", n)
			}
			b.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "1")
			b.set(ChallengeAlways)
			roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
			if c := b.cookies(); c.Accepted != 2 || b.txs() != before+1 {
				t.Errorf("afterwards: %+v", c)
			}
		})
	}
}

// An ACK that comes late, by data and all, when another program has taken over, is still an answer to a cookie: the secret stays.
func TestHandshakeDuringAnUpgrade(t *testing.T) {
	te.Tool(t, "nft")
	b := newChallenged(t)
	b.echo()
	b.set(ChallengeAlways)
	b.Customer.Run(t, "nft", "add table inet late; add chain inet late out { type filter hook output priority 0; }; "+
		"add rule inet late out tcp flags & (syn | ack) == ack drop")
	conns := []net.Conn{b.dial(b.Bank.Addr(bankPort)), b.dial(b.Bank.Addr6(bankPort))}
	b.opts.Version = "newer"
	b.Bank.Do(t, func() {
		installOther(t, b.opts)
		newer, err := Attach(b.opts)
		must(t, err)
		t.Cleanup(func() { must(t, newer.Close()) })
		if !newer.Adopted || !newer.Upgraded {
			t.Errorf("attachment %+v", newer)
		}
	})
	b.Customer.Run(t, "nft", "delete table inet late")
	for _, c := range conns {
		roundTrip(t, c)
	}
	if c := b.cookies(); c.Accepted != 2 || c.Refused+c.Late != 0 {
		t.Errorf("cookies %+v", c)
	}
}
