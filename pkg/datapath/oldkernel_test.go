package datapath

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestOldKernelLoads is run by scripts/vm on Debian 12's kernel too; the verifier's last words tell what it misses.
func TestOldKernelLoads(t *testing.T) {
	te.Root(t)
	c := constants{seed: newSeed(), sources: MinSources, challenge: true, accept: haveAssign() == nil, frags: true, note: true, netns: 1}
	objs, err := c.load(nil)
	var refusal *ebpf.VerifierError
	if errors.As(err, &refusal) {
		t.Log(strings.Join(refusal.Log[max(0, len(refusal.Log)-60):], "\n"))
	}
	must(t, err)
	if objs.WeirEstablished.Type() != ebpf.Tracing {
		t.Error("without the tracepoint")
	}
	must(t, objs.Close())
}
