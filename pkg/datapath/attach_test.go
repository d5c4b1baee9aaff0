package datapath

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath/flood"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// stage is a protected host, and another that sends to it.
type stage struct {
	t        *testing.T
	host     *te.Host
	attacker *te.Host
	opts     Options
}

func newStage(t *testing.T) *stage {
	t.Helper()
	host, attacker := te.Pair(t)
	s := &stage{t, host, attacker, Options{
		Interface: host.Interface, BPFFS: te.PinDir(t), Limit: Limit{Rate: 10, Burst: 20}, Sources: MinSources, Version: "test",
	}}
	unloadAfter(t, host, s.opts)
	return s
}

// unloadAfter takes off what a test leaves, as weir does it, whatever became of the test.
func unloadAfter(t testing.TB, h *te.Host, o Options) {
	t.Cleanup(func() { h.Do(t, func() { _, _ = Unload(o.BPFFS, o.Interface) }) })
}

// attach attaches in the host; what it returns is closed with the test.
func (s *stage) attach() (*Attachment, error) {
	var a *Attachment
	var err error
	s.host.Do(s.t, func() { a, err = Attach(s.opts) })
	if err == nil {
		s.t.Cleanup(func() { must(s.t, a.Close()) })
	}
	return a, err
}

func (s *stage) mustAttach() *Attachment {
	s.t.Helper()
	a, err := s.attach()
	must(s.t, err)
	return a
}

func (s *stage) unload() bool {
	s.t.Helper()
	var found bool
	var err error
	s.host.Do(s.t, func() { found, err = Unload(s.opts.BPFFS, s.opts.Interface) })
	must(s.t, err)
	return found
}

func (s *stage) enable(l Limit, lease time.Duration) (err error) {
	s.host.Do(s.t, func() { err = NewSwitch(s.opts.BPFFS, s.opts.Interface).Enable(l, lease) })
	return err
}

func (s *stage) disable() (err error) {
	s.host.Do(s.t, func() { err = NewSwitch(s.opts.BPFFS, s.opts.Interface).Disable() })
	return err
}

// send sends n SYNs of one source and returns when the host has received them.
func (s *stage) send(n int) {
	s.t.Helper()
	f := te.NewSYN(netip.AddrPortFrom(s.attacker.IPv4, 1234), netip.AddrPortFrom(s.host.IPv4, 443))
	f.SrcMAC, f.DstMAC = s.attacker.MAC, s.host.MAC
	te.SendFrames(s.t, s.attacker, s.attacker.Interface, slices.Repeat([][]byte{f.Bytes()}, n))
}

// pins lists what is below the stage's pin folder.
func (s *stage) pins() []string {
	s.t.Helper()
	var all []string
	must(s.t, filepath.WalkDir(s.opts.BPFFS, func(path string, _ fs.DirEntry, err error) error {
		if path != s.opts.BPFFS {
			all = append(all, strings.TrimPrefix(path, s.opts.BPFFS+"/"))
		}
		return err
	}))
	return all
}

func syns(t *testing.T, r *Reader) (passed, would, dropped uint64) {
	t.Helper()
	c, err := r.Counters()
	must(t, err)
	return c[ClassSYN][VerdictPass][ReasonNone].Packets, c[ClassSYN][VerdictWouldDrop][ReasonSourceRate].Packets,
		c[ClassSYN][VerdictDrop][ReasonSourceRate].Packets
}

// settle lets every CPU see a change of the control map.
func settle() { time.Sleep(20 * time.Millisecond) }

func TestAttachObservesThenEnforces(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	if a.Adopted || a.Tier != TierNative {
		t.Errorf("a new attachment on a veth: %+v", a)
	}
	s.send(100)
	if passed, would, dropped := syns(t, a.Reader); passed+would != 100 || dropped != 0 || would < 75 || would > 80 {
		t.Errorf("observe: %d passed, %d would be dropped, %d dropped of 100 with burst 20", passed, would, dropped)
	}
	must(t, s.enable(Limit{Rate: 5, Burst: 10}, time.Hour))
	settle()
	c, err := a.Control()
	must(t, err)
	if !c.Enforcing() || c.Limit != (Limit{5, 10}) || c.Lease > time.Hour || c.Lease < 59*time.Minute || c.Generation != 2 {
		t.Errorf("control after enable: %+v", c)
	}
	s.send(100)
	if _, _, dropped := syns(t, a.Reader); dropped < 90 {
		t.Errorf("enforce: only %d of 100 dropped", dropped)
	}
	must(t, s.disable())
	settle()
	_, _, before := syns(t, a.Reader)
	s.send(100)
	if _, _, after := syns(t, a.Reader); after != before {
		t.Errorf("after disable %d were dropped", after-before)
	}
}

func TestCountsAreExactOnTwoCPUs(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	cpus := min(2, runtime.NumCPU())
	for cpu := range cpus {
		te.OnCPU(t, cpu, func() { s.send(10_000 / cpus) })
	}
	c, err := a.Counters()
	must(t, err)
	if got := c.Offered(ClassSYN); got != (Count{10_000, 10_000 * 74}) {
		t.Errorf("10,000 SYNs sent, %+v counted", got)
	}
}

func TestRestartAdoptsWithoutAGap(t *testing.T) {
	s := newStage(t)
	first := s.mustAttach()
	s.send(50)
	must(t, s.enable(Limit{Rate: 7, Burst: 9}, time.Hour))
	settle()
	before := s.pins()
	must(t, first.Close()) // what dying does

	s.send(50) // nobody is there
	second := s.mustAttach()
	if !second.Adopted || second.Upgraded || second.Resized || second.Tier != TierNative {
		t.Errorf("second attachment: %+v", second)
	}
	if passed, would, dropped := syns(t, second.Reader); passed+would+dropped != 100 || dropped == 0 {
		t.Errorf("counts after a restart: %d passed, %d would be dropped, %d dropped, want 100 in all", passed, would, dropped)
	}
	c, err := second.Control()
	must(t, err)
	if !c.Enforcing() || c.Limit != (Limit{7, 9}) {
		t.Errorf("a restart changed what was commanded: %+v", c)
	}
	if after := s.pins(); !slices.Equal(before, after) {
		t.Errorf("pins before %v, after %v", before, after)
	}
}

func TestAdoptTakesTheNewDefaultLimitOnlyWhileIdle(t *testing.T) {
	s := newStage(t)
	s.mustAttach()
	s.opts.Limit = Limit{Rate: 30, Burst: 60}
	c, err := s.mustAttach().Control()
	must(t, err)
	if c.Limit != s.opts.Limit {
		t.Errorf("limit %+v after a restart with %+v", c.Limit, s.opts.Limit)
	}
}

func TestUpgradeExchangesTheProgram(t *testing.T) {
	s := newStage(t)
	first := s.mustAttach()
	s.send(10)
	s.host.Do(t, func() { installOther(t, s.opts) })
	s.send(10)

	s.opts.Version = "newer"
	second := s.mustAttach()
	if !second.Adopted || !second.Upgraded {
		t.Errorf("attachment over another build: %+v", second)
	}
	s.send(10)
	if passed, _, _ := syns(t, second.Reader); passed != 20 {
		t.Errorf("%d SYNs counted, want the 10 before and the 10 after", passed)
	}
	info, err := second.Info()
	must(t, err)
	if info.Version != "newer" || info.Sources != MinSources {
		t.Errorf("info after the upgrade: %+v", info)
	}
	if third := s.mustAttach(); third.Upgraded {
		t.Error("the same build was exchanged")
	}
	_ = first
}

// installOther puts another build's program, one that counts nothing and lets all pass, in the place of that which runs.
func installOther(t *testing.T, o Options) {
	t.Helper()
	pins, err := locate(o.BPFFS, o.Interface)
	must(t, err)
	old, err := pins.open()
	must(t, err)
	other := otherProgram(t)
	must(t, errors.Join(old.hook.Update(other), os.Remove(filepath.Join(pins.dir(), pinProgram)),
		other.Pin(filepath.Join(pins.dir(), pinProgram)), old.close()))
}

func otherProgram(t *testing.T) *ebpf.Program {
	t.Helper()
	spec := &ebpf.ProgramSpec{Name: "other", Type: ebpf.XDP, License: "GPL", Instructions: passInstructions(),
		AttachType: ebpf.AttachXDP}
	p, err := ebpf.NewProgram(spec)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

func TestForeignProgramIsNotDisplaced(t *testing.T) {
	for _, tier := range []string{TierNative, TierGeneric} {
		s := newStage(t)
		s.opts.Tier = tier
		var sink *flood.Sink
		var err error
		s.host.Do(t, func() { sink, err = flood.NewSink(s.opts.Interface, true) })
		must(t, err)
		if _, err := s.attach(); !errors.Is(err, ErrNoProgram) || !strings.Contains(err.Error(), "won't be displaced") {
			t.Errorf("error %v", err)
		}
		if left := s.pins(); len(left) > 2 { // weir and weir/v1
			t.Errorf("a refused attach left %v", left)
		}
		must(t, sink.Close())
		if a := s.mustAttach(); a.Tier != tier {
			t.Errorf("%s instead of %s", a.Tier, tier)
		}
		// A weir that pins elsewhere is told from others: there is no second one beside it.
		s.opts.Tier, s.opts.BPFFS = "", te.PinDir(t)
		if _, err := s.attach(); err == nil || !strings.Contains(err.Error(), "another BPF file system") {
			t.Errorf("error %v", err)
		}
	}
}

func TestUnloadLeavesNothing(t *testing.T) {
	s := newStage(t)
	if s.unload() {
		t.Error("something was unloaded before anything was loaded")
	}
	a := s.mustAttach()
	if !s.unload() {
		t.Error("nothing was unloaded")
	}
	if left := s.pins(); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if _, err := a.Counters(); !errors.Is(err, ErrDetached) {
		t.Errorf("a reader says %v after the unload", err)
	}
	if err := s.enable(DefaultLimit, time.Minute); !errors.Is(err, ErrNotAttached) {
		t.Errorf("enable says %v after the unload", err)
	}
	if out := s.host.Run(t, "ip", "link", "show", "dev", s.opts.Interface); strings.Contains(out, "xdp") {
		t.Errorf("still attached: %s", out)
	}
	if again := s.mustAttach(); again.Adopted {
		t.Error("adopted what was unloaded")
	}
}

func TestUnloadAllFindsEveryNamespace(t *testing.T) {
	s := newStage(t)
	s.mustAttach()
	s.attacker.Do(t, func() {
		o := s.opts
		a, err := Attach(o)
		must(t, err)
		must(t, a.Close())
	})
	found, err := UnloadAll(s.opts.BPFFS)
	if must(t, err); !found {
		t.Error("nothing found")
	}
	if left := s.pins(); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestInterfaceThatIsGone(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	s.host.Run(t, "ip", "link", "del", s.opts.Interface)
	if _, err := a.Counters(); !errors.Is(err, ErrDetached) {
		t.Errorf("a reader says %v", err)
	}
	if _, err := s.attach(); err == nil || !strings.Contains(err.Error(), "no such interface (there are lo)") {
		t.Errorf("attach says %v", err)
	}
	// Another interface gets its number: the pins speak of one that is gone.
	s.host.Run(t, "ip", "link", "add", s.opts.Interface, "index", ifindexOf(a), "type", "veth", "peer", "name", "other")
	if again := s.mustAttach(); again.Adopted {
		t.Error("adopted the pins of an interface that is gone")
	}
	if found, err := UnloadAll(s.opts.BPFFS); err != nil || !found {
		t.Errorf("unload: %v, %v", found, err)
	}
}

func TestInterruptedStartIsCleared(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	// As if killed between pinning the link and the rename.
	staged := filepath.Join(a.place.abi(), stagingPrefix+a.place.key)
	must(t, os.Rename(a.place.dir(), staged))
	if again := s.mustAttach(); again.Adopted {
		t.Error("adopted what was never complete")
	}
	if _, err := os.Stat(staged); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the staging folder is still there: %v", err)
	}
}

func TestOtherABIIsRefused(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	other := filepath.Join(a.place.root(), "v0")
	must(t, os.Mkdir(other, 0o700))
	must(t, os.Rename(a.place.dir(), filepath.Join(other, a.place.key)))
	if _, err := s.attach(); err == nil || !strings.Contains(err.Error(), "another version of weir") {
		t.Errorf("error %v", err)
	}
	if !s.unload() {
		t.Error("there was nothing to unload")
	}
	if a := s.mustAttach(); a.Adopted {
		t.Error("adopted another version's")
	}
}

func TestLockIsWaitedFor(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	lock, err := a.place.lock()
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- s.enable(DefaultLimit, time.Minute) }()
	select {
	case err := <-done:
		t.Fatalf("enable didn't wait for the lock: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	must(t, lock.Close())
	must(t, <-done)
}

func TestRefusedValues(t *testing.T) {
	for _, l := range []Limit{{0, 1}, {1, 0}, {MaxRate + 1, 1}, {1e12, 1}, {1, MaxBurst + 1}, {1, 3600}} {
		if l.Validate() == nil {
			t.Errorf("%+v is accepted", l)
		}
	}
	for _, n := range []int{0, 1000, 1 << 30, -4} {
		if validateSources(n) == nil {
			t.Errorf("%d sources are accepted", n)
		}
	}
	sw := NewSwitch("", "lo")
	for _, lease := range []time.Duration{0, -1, MaxLease + 1} {
		if err := sw.Enable(DefaultLimit, lease); err == nil || !strings.Contains(err.Error(), "lease") {
			t.Errorf("lease %v: %v", lease, err)
		}
	}
}

func TestGenericXDP(t *testing.T) {
	s := newStage(t)
	s.opts.Interface = "lo" // has no native XDP
	a := s.mustAttach()
	if a.Tier != TierGeneric {
		t.Errorf("tier %q on loopback", a.Tier)
	}
	s.unload()
}

func TestJumboFrames(t *testing.T) {
	s := newStage(t)
	s.host.Run(t, "ip", "link", "set", s.opts.Interface, "mtu", "9000")
	s.attacker.Run(t, "ip", "link", "set", s.attacker.Interface, "mtu", "9000")
	a := s.mustAttach()
	if a.Tier != TierNative {
		t.Errorf("tier %q with an MTU of 9000", a.Tier)
	}
	s.send(3)
	if passed, _, _ := syns(t, a.Reader); passed != 3 {
		t.Errorf("%d of 3 SYNs counted", passed)
	}
	if again := s.mustAttach(); !again.Adopted || again.Upgraded {
		t.Errorf("restart: %+v", again)
	}
}

func TestTopSources(t *testing.T) {
	s := newStage(t)
	a := s.mustAttach()
	start := time.Now()
	if top, err := a.TopSources(start, 3); err != nil || top != nil {
		t.Errorf("first call: %v, %v", top, err)
	}
	var all [][]byte
	for i := range 5 {
		f := te.NewSYN(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1234), netip.AddrPortFrom(s.host.IPv4, 443))
		f.SrcMAC, f.DstMAC = s.attacker.MAC, s.host.MAC
		all = append(all, slices.Repeat([][]byte{f.Bytes()}, 10*(i+1))...)
	}
	te.SendFrames(t, s.attacker, s.attacker.Interface, all)
	top, err := a.TopSources(start.Add(2*time.Second), 3)
	must(t, err)
	want := []SourceRate{
		{netip.MustParsePrefix("192.0.2.4/32"), 25, true},
		{netip.MustParsePrefix("192.0.2.3/32"), 20, true},
		{netip.MustParsePrefix("192.0.2.2/32"), 15, true},
	}
	if !slices.Equal(top, want) {
		t.Errorf("top sources %v, want %v", top, want)
	}
	if top, err = a.TopSources(start.Add(3*time.Second), 3); err != nil || len(top) != 0 {
		t.Errorf("idle sources are shown: %v, %v", top, err)
	}
}

func TestNoPrivilege(t *testing.T) {
	te.Root(t)
	s := newStage(t)
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread stays without privilege and ends here
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		must(t, unix.Capset(&hdr, &none[0]))
		o := s.opts
		o.Interface = "lo"
		_, err = Attach(o)
	}()
	<-done
	if err == nil || !strings.Contains(err.Error(), "as root") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}

// passInstructions let every packet pass.
func passInstructions() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}
}

func ifindexOf(a *Attachment) string { return strconv.Itoa(a.place.ifindex) }
