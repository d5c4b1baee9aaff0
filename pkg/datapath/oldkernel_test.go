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

// What is found out without attaching anything is what attaching then comes to.
func TestOldKernelIsProbed(t *testing.T) {
	h, _ := te.Pair(t)
	bpffs := te.PinDir(t)
	h.Do(t, func() {
		can, err := Probe(bpffs, h.Interface)
		must(t, err)
		if can.Load != nil || can.Generic != nil || can.TC != nil || can.Challenge != nil || can.Watch != nil || (can.OwnCookies == nil) != (haveAssign() == nil) {
			t.Errorf("%+v", can)
		}
		if tier, err := Tier(bpffs, h.Interface); tier != "" || err != nil {
			t.Errorf("%q, %v: nothing is attached yet", tier, err)
		}
		a, err := Attach(Options{Interface: h.Interface, BPFFS: bpffs, Sources: MinSources, Limit: DefaultLimit})
		must(t, err)
		defer func() { must(t, a.Close()) }()
		if (a.NoChallenge == nil) != (can.Challenge == nil) || (a.NoOwnCookies == nil) != (can.OwnCookies == nil) || (a.NoWatch == nil) != (can.Watch == nil) ||
			a.Replies != (can.Note == nil) {
			t.Errorf("%+v, but %v, %v, %v, %v", can, a.NoChallenge, a.NoOwnCookies, a.NoWatch, a.Replies)
		}
		if tier, err := Tier(bpffs, h.Interface); tier != a.Tier || err != nil {
			t.Errorf("%q, %v", tier, err)
		}
		_, err = UnloadAll(bpffs)
		must(t, err)
	})
}
