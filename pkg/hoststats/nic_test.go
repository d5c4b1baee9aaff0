package hoststats

import (
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func TestNIC(t *testing.T) {
	h, _ := te.Pair(t)
	h.Do(t, func() {
		n, err := ReadNIC(h.Interface)
		if err != nil || n.Driver != "veth" || n.MTU != 1500 || n.Queues < 1 || n.LRO || n.XDPErr == nil && !n.XDP {
			t.Errorf("%+v, %v", n, err)
		}
		if n, err := ReadNIC("lo"); err != nil || n.XDP {
			t.Errorf("lo: %+v, %v", n, err)
		}
		if _, err := ReadNIC("nothing0"); err == nil {
			t.Error("an interface that isn't there is read")
		}
	})
}
