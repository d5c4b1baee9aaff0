package datapath

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// slowly is how much slower than it says a budget fills in tests: what is used up stays so, however busy the machine is.
const slowly = 1000

// budget sets that of one class, and no management ports.
func (p *program) budget(class Class, b Budget, management ...uint16) {
	p.t.Helper()
	all := Budgets{ManagementPorts: management}
	all.Classes[class] = b
	must(p.t, all.Validate())
	raw := all.raw()
	for _, r := range []*bpfWeirRate{&raw.Classes[class].Source, &raw.Classes[class].Prefix, &raw.Classes[class].Total} {
		r.Interval, r.Tolerance = r.Interval*slowly, r.Tolerance*slowly
	}
	must(p.t, p.objs.Budgets.Put(only, raw))
	time.Sleep(20 * time.Millisecond) // every CPU has seen it after a jiffy
}

// passes runs each frame once and counts those that pass.
func (p *program) passes(frames ...[]byte) int {
	p.t.Helper()
	n := 0
	for _, f := range frames {
		if action, _ := p.run(p.objs.Weir, f, 1); action == xdpPass {
			n++
		}
	}
	return n
}

// fromEach is a frame from each of n addresses behind a first one, those of IPv6 a /64 apart.
func fromEach(f te.Frame, first string, n int) [][]byte {
	var all [][]byte
	a := netip.MustParseAddr(first)
	for range n {
		f.Src = a
		all = append(all, f.Bytes())
		if a.Is4() {
			a = a.Next()
			continue
		}
		b := a.As16()
		b[7]++
		a = netip.AddrFrom16(b)
	}
	return all
}

func TestPrefixesAndTotalsOfSYNs(t *testing.T) {
	p := newProgram(t, Limit{Rate: 1, Burst: 100})
	p.switchTo(modeEnforce, time.Hour)
	of := func(f te.Frame, first string) [][]byte { return fromEach(with(f, tcp(te.SYN)), first, 10) }

	p.budget(ClassSYN, Budget{Prefix: Limit{Rate: 1, Burst: 7}})
	for _, row := range []struct {
		frames [][]byte
		want   int
	}{
		{of(v4, "192.0.2.0"), 7},
		{of(v4, "192.0.2.100"), 0},
		{of(v4, "192.0.3.250"), 10}, // 6 in this /24, 4 in the next
		{of(v4, "192.0.3.0"), 1},
		{of(v6, "2001:db8:7::1"), 7},
		{of(v6, "2001:db8:7:ff00::1"), 0},
		{of(v6, "2001:db8:8::1"), 7},
		{of(v6, "::"), 7},
	} {
		if got := p.passes(row.frames...); got != row.want {
			t.Errorf("%d SYNs of 10 from %x pass, want %d", got, row.frames[0][22:38], row.want)
		}
	}
	if _, moved := p.run(p.objs.Weir, with(v4, tcp(te.SYN)).Bytes(), 1); moved[cell{ClassSYN, VerdictDrop, ReasonPrefixRate}].Packets != 1 {
		t.Errorf("counted %v", moved)
	}

	p.budget(ClassSYN, Budget{Total: Limit{Rate: 1, Burst: 15}})
	if got := p.passes(append(of(v4, "203.0.113.0"), of(v6, "2001:db8:9::1")...)...); got != 15 {
		t.Errorf("%d SYNs pass a total of 15", got)
	}
	p.switchTo(modeObserve, 0)
	if err := p.expect(with(v4, tcp(te.SYN)).Bytes(), cell{ClassSYN, VerdictWouldDrop, ReasonTotalRate}); err != nil {
		t.Error(err)
	}
}

func TestTotalIsItsRate(t *testing.T) {
	p := newProgram(t, Limit{Rate: MaxRate, Burst: MaxBurst})
	p.switchTo(modeEnforce, time.Hour)
	l := Limit{Rate: 50_000, Burst: 50_000}
	var all Budgets
	all.Classes[ClassSYN] = Budget{Total: l}
	must(t, writeBudgets(p.objs.Budgets, all))
	time.Sleep(20 * time.Millisecond)
	syn := with(v4, tcp(te.SYN)).Bytes()
	start := time.Now()
	var passes, offered uint64
	for time.Since(start) < 300*time.Millisecond {
		_, moved := p.run(p.objs.Weir, syn, 100_000)
		passes += moved[passed(ClassSYN)].Packets
		offered += 100_000
	}
	want := float64(l.Burst) + time.Since(start).Seconds()*float64(l.Rate)
	if offered < uint64(want)*11/10 {
		t.Fatalf("only %d SYNs could be offered", offered)
	}
	if float64(passes) < want*0.95 || float64(passes) > want*1.01 {
		t.Errorf("%d SYNs of a flood pass, want %.0f", passes, want)
	}
}

func TestManagementPortsAreNeverDropped(t *testing.T) {
	p := newProgram(t, Limit{Rate: 1, Burst: 2})
	must(t, changeControl(p.objs.Control, func(raw *bpfWeirControl) {
		raw.Interval, raw.Tolerance = raw.Interval*slowly, raw.Tolerance*slowly
	}))
	p.switchTo(modeEnforce, time.Hour)
	to := func(port uint16) []byte {
		return with(v4, l4(te.TCP{SrcPort: 1, DstPort: port, Flags: te.SYN})).Bytes()
	}
	p.budget(ClassOther, Budget{}, 22, 2222, 0x1600, 65535, 80)
	p.passes(to(1), to(1))
	for port, want := range map[uint16]bool{
		22: true, 2222: true, 0x1600: true, 65535: true, 80: true,
		0: false, 21: false, 23: false, 0x8016: false, 65534: false, 443: false,
	} {
		if got := p.passes(to(port)) == 1; got != want {
			t.Errorf("a SYN over its source's limit to port %d passes: %v", port, got)
		}
	}
	if err := p.expect(to(22), cell{ClassSYN, VerdictPass, ReasonManagement}); err != nil {
		t.Error(err)
	}
	p.budget(ClassOther, Budget{})
	for _, port := range []uint16{0, 22} {
		if p.passes(to(port)) != 0 {
			t.Errorf("without management ports a SYN to port %d passes", port)
		}
	}
}

func TestBudgetsRoundTrip(t *testing.T) {
	p := newProgram(t, DefaultLimit)
	want := Budgets{ManagementPorts: []uint16{22, 4711}}
	want.Classes[ClassUDP] = Budget{Source: Limit{5, 10}, Prefix: Limit{50, 60}, Total: Limit{MaxTotalRate, MaxTotalBurst}}
	want.Classes[ClassTCP] = Budget{Total: Limit{1, 1}}
	must(t, writeBudgets(p.objs.Budgets, want))
	got, err := readBudgets(p.objs.Budgets)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if got, want := want.raw().Budgeted, uint16(1<<ClassUDP|1<<ClassTCP|1<<ClassSYNACK); got != want {
		t.Errorf("classes with budgets: %b, want %b", got, want)
	}
}

func TestBudgetsAreValidated(t *testing.T) {
	for _, row := range []struct {
		class Class
		b     Budget
		want  string // "" for valid
	}{
		{ClassUDP, Budget{}, ""},
		{ClassUDP, Budget{Source: Limit{MaxRate, MaxRate / 100}}, ""},
		{ClassUDP, Budget{Total: Limit{MaxTotalRate, MaxTotalBurst}}, ""},
		{ClassSYN, Budget{Prefix: Limit{1, 1}}, ""},
		{ClassSYN, Budget{Source: Limit{1, 1}}, "no budget of their own"},
		{ClassSYNACK, Budget{Total: Limit{1, 1}}, "no budget of their own"},
		{ClassOther, Budget{Total: Limit{1, 1}}, "no budget of their own"},
		{ClassUDP, Budget{Source: Limit{MaxRate + 1, MaxBurst}}, "rate"},
		{ClassUDP, Budget{Source: Limit{0, 1}}, "rate"},
		{ClassUDP, Budget{Prefix: Limit{1, 0}}, "burst"},
		{ClassUDP, Budget{Prefix: Limit{1000, 9}}, "10 ms"},
		{ClassUDP, Budget{Prefix: Limit{1, 4000}}, "hour"},
		{ClassUDP, Budget{Total: Limit{MaxTotalRate + 1, MaxTotalBurst}}, "rate"},
	} {
		var b Budgets
		b.Classes[row.class] = row.b
		err := b.Validate()
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v %+v: %v, want %q", row.class, row.b, err, row.want)
		}
	}
	if err := (Budgets{ManagementPorts: make([]uint16, MaxManagementPorts+1)}).Validate(); err == nil {
		t.Error("nine management ports are valid")
	}
}
