package tc

import (
	"net"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

func TestWatch(t *testing.T) {
	te.Root(t)
	host, _ := te.Pair(t)
	var w Watch
	host.Do(t, func() {
		told := func(want bool, what string) {
			t.Helper()
			if w.Changed() != want {
				t.Errorf("%s: changed is %v", what, !want)
			}
		}
		told(true, "at first")
		told(false, "nothing happened")
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		comeAndGo := func(times int) {
			t.Helper()
			for range times {
				if _, err := EnsureClsact(eth0.Index); err != nil {
					t.Fatal(err)
				}
				if err := RemoveClsact(eth0.Index); err != nil {
					t.Fatal(err)
				}
			}
		}
		comeAndGo(3)
		told(true, "a qdisc came and went")
		told(false, "told already")
		comeAndGo(2000) // more than there is room for
		told(true, "much happened")
		told(false, "told already")
	})
}
