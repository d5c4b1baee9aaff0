package datapath

import (
	"net"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// Who gathers cookies during a challenge and answers them once it is over opens no more connections than its rate and the cap allow.
func TestHoardedCookiesAreHeldToRateAndCap(t *testing.T) {
	te.Tool(t, "nft")
	const n = 200
	for name, row := range map[string]struct {
		limit Limit
		cap   uint32
		most  uint64
	}{
		"rate": {Limit{Rate: 1, Burst: 20}, 0, 30},
		"cap":  {Limit{Rate: 10_000, Burst: 10_000}, 20, 30},
	} {
		b := newChallenged(t)
		b.echo()
		b.Bank.Do(t, func() { must(t, NewSwitch(b.opts.BPFFS, b.opts.Interface).Budgets(Budgets{Connections: row.cap})) })
		b.enable(row.limit)
		b.policy(ChallengePolicy{When: ChallengeAlways, Unverified: DefaultUnverified})
		b.Customer.Run(t, "nft", "add table inet late; add chain inet late out { type filter hook output priority 0; }; "+
			"add rule inet late out tcp flags & (syn | ack) == ack drop")
		var all []net.Conn
		for range n {
			c := b.dial(b.Bank.Addr(bankPort)) // to the client it looks open
			_, _ = c.Write([]byte("?"))        // comes again until there is an answer
			all = append(all, c)
		}
		b.policy(auto)
		must(t, b.openMap(bpfMapSpoofing).Put(only, bpfWeirSpoofing{UntilNs: monotonicNow() - 1e9, Peers: peersKnown})) // it was challenging
		settle()
		b.Customer.Run(t, "nft", "delete table inet late")
		time.Sleep(2 * time.Second)
		if got := b.cookies().Accepted; got == 0 || got > row.most {
			t.Errorf("%s: %d of %d hoarded cookies opened connections, want %d at most", name, got, n, row.most)
		}
		for _, c := range all {
			c.Close()
		}
	}
}
