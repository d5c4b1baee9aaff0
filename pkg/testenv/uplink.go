package testenv

import (
	"testing"
	"time"
)

// uplinkDNS is the name server that slirp4netns has for its hosts.
const uplinkDNS = "10.0.2.3"

// Uplink is a host's interface to what this machine reaches, as the NAT of a hypervisor gives: 10.0.2.100, with the default route. It
// is for getting packages and must be closed before any flood: nothing of that may leave this machine.
type Uplink struct{ process *Process }

// OpenUplink opens an uplink as the interface called name of a host, which must have no default route. DNS is at 10.0.2.3.
func OpenUplink(t testing.TB, h *Host, name string) *Uplink {
	t.Helper()
	Tool(t, "slirp4netns")
	local := Local()
	p := local.Start(t, "slirp4netns", "--configure", "--mtu=1500", "--disable-host-loopback", "--netns-type=path", h.path(), name)
	u := &Uplink{p}
	Eventually(t, 10*time.Second, "uplink of "+h.Name, func() bool {
		return h.Command(t.Context(), "ip", "route", "get", uplinkDNS).Run() == nil
	})
	return u
}

// Close removes the interface and its routes.
func (u *Uplink) Close() { u.process.Stop() }
