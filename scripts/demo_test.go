package scripts

import (
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestDemoLeavesNothing stops the demonstration amid its flood, as a terminal's Ctrl-C and `timeout` do: all of its processes hear it.
func TestDemoLeavesNothing(t *testing.T) {
	te.Tool(t, "pkill", "hping3", "nginx", "curl", "mosquitto_sub", "ethtool")
	script := filepath.Join(treeWithout(t, ".build", ".git"), "scripts/demo") // it builds, and other tests read what is built here
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		demo := te.Local().Start(t, script, "--rand-source")
		demo.Await(t, "imited ", 2*time.Minute) // or, on a busy machine, "NOT limited"
		hosts := fmt.Sprintf("/run/netns/weir-%d-demo-*", demo.PID())
		if left, err := filepath.Glob(hosts); err != nil || len(left) != 4 {
			t.Fatalf("hosts %v: %v", left, err)
		}
		// In any order, and it may reap its children before it hears the signal itself.
		_ = te.Local().Command(t.Context(), "pkill", "--signal", strconv.Itoa(int(signal)), "--parent", strconv.Itoa(demo.PID())).Run()
		time.Sleep(100 * time.Millisecond)
		if err := syscall.Kill(-demo.PID(), signal); err != nil {
			t.Fatal(err)
		}
		if err := demo.Wait(patience); err == nil {
			t.Errorf("%v: a demonstration that was stopped says that it succeeded", signal)
		}
		if left, err := filepath.Glob(hosts); err != nil || len(left) > 0 {
			t.Errorf("%v leaves %v: %v", signal, left, err)
		}
	}
}
