package datapath

import (
	"errors"
	"net"
)

// terms are what answers to SYNs depend on beside the policy; both may change while SYNs are challenged.
type terms struct {
	offer uint16
	mac   net.HardwareAddr
}

// terms reads them. Where the kernel would take no cookie it ends the challenge at once: clients would wait for a connection
// that nobody makes.
func (s *Switch) terms() (terms, error) {
	iface, err := FindInterface(s.iface)
	if err != nil {
		return terms{}, err
	}
	offer, err := readOffer()
	if err != nil {
		return terms{}, errors.Join(err, s.change(func(raw *bpfWeirControl) {
			raw.Challenge, raw.ArmedUntilNs, raw.AcceptUntilNs = uint32(ChallengeNever), 0, 0
		}))
	}
	return terms{offer, iface.HardwareAddr}, nil
}

func (t terms) note(raw *bpfWeirControl) {
	raw.Offer = t.offer
	copy(raw.Mac[:], t.mac)
}

// Recheck adapts a challenge to what the network namespace's settings and the interface's address are now. It wraps ErrNoChallenge,
// and has ended the challenge, where the settings rule it out.
func (s *Switch) Recheck() error {
	now, err := s.terms()
	if err != nil {
		return err
	}
	return s.change(now.note)
}

// ChallengeRefusal says why the settings of the calling thread's network namespace rule a challenge out, nil if they don't. It wraps
// ErrNoChallenge.
func ChallengeRefusal() error {
	_, err := readOffer()
	return err
}
