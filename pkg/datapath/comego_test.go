package datapath

import (
	"context"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// Listeners come and go under challenge: who comes gets connections by cookies at once, and who has gone is refused as ever.
func TestListenersComeAndGo(t *testing.T) {
	b := newChallenged(t)
	b.set(ChallengeAlways)
	refused := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), te.ConnectTimeout)
		defer cancel()
		c, err := b.Customer.Dial(ctx, "tcp", b.Bank.Addr(bankPort).String())
		if err == nil {
			must(t, c.(*net.TCPConn).SetLinger(0))
			must(t, c.Close())
		}
		return errors.Is(err, unix.ECONNREFUSED)
	}
	for round := range 5 {
		te.Eventually(t, te.ConnectTimeout, "nobody to listen", refused)
		l := b.Bank.Listen(t, b.Bank.Addr(bankPort))
		b.serve(l)
		settle() // for a jiffy the kernel takes connections by itself where nobody listened
		before := b.cookies().Accepted
		c := b.dial(b.Bank.Addr(bankPort))
		roundTrip(t, c)
		if n := b.cookies().Accepted - before; n != 1 {
			t.Errorf("round %d: %d connections were opened by cookies", round, n)
		}
		must(t, l.Close())
		roundTrip(t, c) // goes on without its listener
	}
}
