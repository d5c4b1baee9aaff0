package datapath

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// Who forges the SYNs of a known customer, at any rate, uses up what those may send without a challenge, and nothing of what the
// customer's own handshakes need.
func TestForgedSYNsLeaveACustomerItsHandshakes(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	b.enable(DefaultLimit)
	b.policy(auto)
	roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources, Rate: 20_000})
	b.awaitChallenge(true, te.ConnectTimeout)
	var forged [][]byte
	for i := range uint16(1000) {
		f := te.NewSYN(netip.AddrPortFrom(b.Customer.IPv4, 1+i), b.Bank.Addr(bankPort))
		f.SrcMAC, f.DstMAC = b.Attacker.MAC, b.Bank.MAC
		forged = append(forged, f.Bytes())
	}
	b.sendUntilDone(forged)
	time.Sleep(500 * time.Millisecond) // more than enough to use up a burst
	if r := te.Connects(t, b.Customer, te.ConnectOptions{Target: b.Bank.Addr(bankPort), N: 50}); r.OK != 50 {
		t.Error(r)
	}
	if c := b.cookies(); c.Accepted < 40 {
		t.Errorf("cookies %+v: the customer wasn't challenged, so that nothing is shown", c)
	}
	c, err := b.a.Counters()
	must(t, err)
	if n := c[ClassTCP][VerdictDrop][ReasonSourceRate].Packets; n != 0 {
		t.Errorf("%d of the customer's ACKs were dropped", n)
	}
}

// sendUntilDone has the attacker send frames again and again until the test ends.
func (b *challenged) sendUntilDone(frames [][]byte) {
	b.t.Helper()
	wire, stop := te.NewWire(b.t, b.Attacker, b.Attacker.Interface), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := wire.Send(frames...); err != nil {
					b.t.Error(err)
					return
				}
			}
		}
	})
	b.t.Cleanup(func() { close(stop); wg.Wait() })
}
