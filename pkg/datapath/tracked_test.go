package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// Netfilter may begin to track connections after weir was started. Where XDP may challenge by itself nobody switches limiting on
// before it does.
func TestRedirectedConnectionsLiveInAnAutonomousChallenge(t *testing.T) {
	te.Tool(t, "nft")
	b := newChallenged(t)
	b.echo()
	armed := auto
	armed.Armed = time.Hour
	b.policy(armed)
	b.Bank.Run(t, "nft", fmt.Sprintf("table inet nat { chain in { type nat hook prerouting priority 0; tcp dport 80 redirect to :%d; }; }",
		bankPort))
	var all []net.Conn
	for _, to := range []netip.AddrPort{b.Bank.Addr(80), b.Bank.Addr6(80)} {
		all = append(all, b.dial(to))
	}
	b.policy(armed) // the controller says it again and again
	te.Flood(t, b.Attacker, b.Bank, te.FloodOptions{Target: b.Bank.Addr(bankPort), Sources: te.RandomSources, Rate: 20_000})
	b.awaitChallenge(true, te.ConnectTimeout)
	for _, c := range all {
		roundTrip(t, c)
	}
}
