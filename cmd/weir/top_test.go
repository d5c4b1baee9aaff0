package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/top"
	"github.com/weir-sensor/weir/pkg/wire"
)

const brokerURL = "tcp://" + brokerAddr

// topOnce is one sample.
func (s *site) topOnce(flags ...string) top.Document {
	s.t.Helper()
	out := s.mustWeir("top", append(flags, "--once", "--json")...)
	var d top.Document
	if err := json.Unmarshal([]byte(out), &d); err != nil || strings.Count(out, "\n") != 1 {
		s.t.Fatalf("weir top: %v: %s", err, out)
	}
	return d
}

func TestTopSeesAFloodHereAndByTheBroker(t *testing.T) {
	s := newSite(t)
	s.serve()
	s.start("up", "--listen-ws", "")
	for from, flags := range map[string][]string{"local": nil, "broker": {"--broker", brokerURL}} {
		if d := s.topOnce(flags...); d.State != top.Calm || d.From != from || d.Mode != wire.ModeObserve || d.Tier != "xdp-native" ||
			d.CPUUsage == nil || d.RAMUsage == nil || *d.RAMUsage <= 0 || d.ActiveTCPConnections == 0 || !d.Broker {
			t.Errorf("%s at rest: %+v", from, d)
		}
	}

	te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 5000})
	r := s.reader()
	rising(t, "drops", dropped(t, r))
	for from, flags := range map[string][]string{"local": nil, "broker": {"--broker", brokerURL}} {
		var d top.Document
		te.Eventually(t, patience, "a sample of "+from+" that is all flood", func() bool {
			d = s.topOnce(flags...)
			return d.State == top.Limiting
		})
		syn := d.Verdicts["syn"]
		if d.Mode != wire.ModeEnforce || d.LeaseSeconds <= 0 || d.SYNPacketCount < 700 || d.Rates["syn"].PacketsPerSecond < 500 ||
			syn.Dropped == 0 || syn.Passed == 0 || d.Drops["source_rate"] == 0 ||
			len(d.TopSources) == 0 || d.TopSources[0].Source != s.Attacker.IPv4.String() || !d.TopSources[0].Limited {
			t.Errorf("%s under flood: %+v", from, d)
		}
		if d.RateLimiting == nil || d.RateLimiting.State != wire.StateOn || d.RateLimiting.Rate != 100 {
			t.Errorf("%s: rate limiting %+v", from, d.RateLimiting)
		}
	}
	if out := s.mustWeir("top", "--once"); !strings.Contains(out, "LIMITING") || !strings.Contains(out, s.Attacker.IPv4.String()) ||
		!strings.Contains(out, "source_rate") || strings.Contains(out, "\x1b") {
		t.Errorf("as text:\n%s", out)
	}
}

func TestTopWithoutTerminal(t *testing.T) {
	s := newSite(t)
	for _, row := range []struct{ flags, want string }{
		{"", "give --once"},
		{"--json", "give --once too"},
		{"--once", "start weir sensor"},
		{"--once --interface eth9", `"eth9"`},
		{"--once --broker tcp://127.0.0.1:9", "is the broker running"},
		{"--once --broker http://x", "tcp://127.0.0.1:1883"},
	} {
		out, status := s.weir("top", strings.Fields(row.flags)...)
		if status != 1 || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "weir: ") || !strings.Contains(out, row.want) {
			t.Errorf("top %s: exit status %d: %s", row.flags, status, out)
		}
	}
}

// TestTopTakesCommands types on a terminal as a person does.
func TestTopTakesCommands(t *testing.T) {
	s := newSite(t)
	up := s.start("up", "--listen-ws", "")
	r := s.reader()
	enforcing := func() bool {
		c, err := r.Control()
		return err == nil && c.Enforcing()
	}
	x := s.Bank.StartInTerminal(t, 80, 24, binary, s.args("top")...)
	x.Await(t, "CALM", patience)
	if x.Echoes() {
		t.Error("keys are shown on the screen")
	}

	x.Type("e")
	x.AwaitWord("lasts", patience) // the question's last word
	time.Sleep(time.Second)
	if enforcing() {
		t.Fatal("enabled without a confirmation")
	}
	x.Type("n")
	x.AwaitWord("sent", patience)
	x.Type("e")
	x.AwaitWord("lasts", patience)
	x.Type("y")
	x.AwaitWord("success", patience)
	if !enforcing() {
		t.Error("enabled, and not enforcing")
	}
	x.AwaitWord("LIMITING", patience)
	x.Resize(30, 6)
	x.AwaitWord("small", patience)
	x.Resize(160, 40)
	x.AwaitWord("connections", patience)
	x.Type("d")
	x.AwaitWord("blocked", patience)
	x.Type("y")
	te.Eventually(t, patience, "observe mode", func() bool { return !enforcing() })

	te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 50})
	x.AwaitWord(s.Attacker.IPv4.String(), patience)
	x.Type("b")
	x.AwaitWord("ports", patience)
	x.Type("y")
	te.Eventually(t, patience, "block", func() bool {
		return strings.Contains(s.mustWeir("status", "--lists"), "asked for in weir top") && !s.reaches(s.Attacker, s.Bank.IPv4)
	})

	up.Signal(syscall.SIGTERM)
	x.AwaitWord("broker", patience)
	x.Type("e")
	x.AwaitWord("lasts", patience)
	x.Type("y")
	x.AwaitWord("refused", patience)
	s.mustWeir("unload")
	x.AwaitWord("GUARDED", patience)
	x.Type("q")
	if err := x.Wait(patience); err != nil || !x.Echoes() {
		t.Errorf("q: %v, the terminal is as before: %v", err, x.Echoes())
	}
}

func TestTopLeavesTheTerminalAsItWas(t *testing.T) {
	s := newSite(t)
	x := s.Bank.StartInTerminal(t, 80, 24, binary, "top", "--broker", brokerURL)
	x.Await(t, "LOST", patience)
	x.Signal(syscall.SIGTERM)
	if err := x.Wait(patience); err != nil || !x.Echoes() || !strings.Contains(x.Output(), "\x1b[?1049l") {
		t.Errorf("ended with %v; the terminal is as before: %v", err, x.Echoes())
	}
}
