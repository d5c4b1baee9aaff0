package datapath

import (
	"net"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// With receive packet steering tc runs on another CPU than XDP. Handshakes that the kernel began with cookies of its own when the
// challenge came end all the same.
func TestKernelCookiesUnderPacketSteering(t *testing.T) {
	te.Tool(t, "nft")
	b := newChallenged(t)
	b.echo()
	b.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "2") // cookies for every SYN
	at := t.TempDir()
	for _, mask := range []string{"1", "2"} { // one of them is another CPU than the customer's
		// /sys shows the network namespace that it was mounted in: in a mount namespace of its own, or it would cover everybody's.
		b.Bank.Run(t, "unshare", "--mount", "sh", "-c", "mount -t sysfs sys "+at+" && echo "+mask+" > "+at+"/class/net/eth0/queues/rx-0/rps_cpus")
		b.set(ChallengeNever)
		b.Customer.Run(t, "nft", "add table inet late; add chain inet late out { type filter hook output priority 0; }; "+
			"add rule inet late out tcp flags & (syn | ack) == ack drop")
		var all []net.Conn
		for range 4 {
			all = append(all, b.dial(b.Bank.Addr(bankPort)), b.dial(b.Bank.Addr6(bankPort)))
		}
		b.set(ChallengeAlways)
		b.Customer.Run(t, "nft", "delete table inet late")
		for _, c := range all {
			roundTrip(t, c)
		}
		for range 10 {
			roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if c := b.cookies(); c.Late != 0 || c.Kernel < 8 {
		t.Errorf("cookies %+v", c)
	}
}
