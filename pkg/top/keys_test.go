package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/weir-sensor/weir/pkg/wire"
)

// confirm answers a question and lets the command run to its end.
func (r *rig) confirm() {
	r.t.Helper()
	cmd := r.press("y")
	if cmd == nil {
		r.t.Fatalf("yes does nothing on\n%s", r.screen())
	}
	r.expect("while it runs", "sent: waiting for the controller's answer")
	r.update(cmd())
}

func TestCommandsAreConfirmed(t *testing.T) {
	for _, row := range []struct {
		keys  []string
		asked string
		want  wire.Command
	}{
		{[]string{"e"}, "enable rate limiting? packets over a limit", wire.Command{Command: wire.EnableRateLimiting}},
		{[]string{"d"}, "disable rate limiting? nothing is dropped", wire.Command{Command: wire.DisableRateLimiting}},
		{[]string{"b"}, "block 198.51.100.3 for 1h? all its packets are dropped, but to management ports",
			wire.Command{Command: wire.BlockSource, Source: "198.51.100.3", TTLSeconds: 3600}},
		{[]string{"down", "down", "down", "down", "b"}, "block 2001:db8:1::/64 for 1h?",
			wire.Command{Command: wire.BlockSource, Source: "2001:db8:1::/64", TTLSeconds: 3600}},
	} {
		t.Run(strings.Join(row.keys, " "), func(t *testing.T) {
			r := scene(t, localConfig)
			r.press(row.keys...)
			r.expect("asking", row.asked, "on <103795587>/bank_server", "y yes n no")
			for _, key := range []string{"x", "e", "b", "Y", "up", "tab", "?"} {
				if r.press(key) != nil {
					t.Errorf("%s is taken for an answer", key)
				}
				r.expect("after "+key, row.asked)
			}
			r.confirm()
			row.want.Origin, row.want.Reason = "top", "asked for in weir top"
			if len(r.sent) != 1 || r.sent[0] != row.want {
				t.Errorf("sent %+v", r.sent)
			}
			r.expect("afterwards", row.want.Command+" by top: success: done")
			r.expectNot("afterwards", "y yes")
		})
	}
}

func TestNoIsNo(t *testing.T) {
	for _, no := range []string{"n", "q", "esc"} {
		r := scene(t, localConfig)
		if cmd := r.press("e", no, "y"); cmd != nil || len(r.sent) > 0 {
			t.Errorf("%s: sent %v", no, r.sent)
		}
		r.expect(no, "enable_rate_limiting was not sent")
	}
}

// TestTheQuestionHolds: what is blocked is what was asked about, whoever is on top by then.
func TestTheQuestionHolds(t *testing.T) {
	r := scene(t, localConfig)
	r.press("b")
	n := attack()
	n.TopSources = []wire.Source{{Source: "203.0.113.9", SYNsPerSecond: 99_999}}
	r.see(51, n)
	r.expect("asking", "block 198.51.100.3 for 1h?")
	r.confirm()
	if r.sent[0].Source != "198.51.100.3" {
		t.Errorf("blocked %s", r.sent[0].Source)
	}
}

// TestTheSelectionStays with the source.
func TestTheSelectionStays(t *testing.T) {
	r := scene(t, localConfig)
	r.press("down")
	n := attack()
	n.TopSources = []wire.Source{{Source: "203.0.113.9", SYNsPerSecond: 99_999}, {Source: "192.0.2.7", SYNsPerSecond: 5}, {Source: "192.0.2.8", SYNsPerSecond: 1}}
	r.see(51, n)
	r.expect("moved", "> 192.0.2.7")
	r.press("up", "up")
	r.expect("up", "> 203.0.113.9")
	n.TopSources = n.TopSources[1:]
	r.see(52, n)
	r.expect("gone", "> 192.0.2.7")
}

func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		status wire.Status
		err    error
		want   string
	}{
		{wire.Status{Command: "enable_rate_limiting", Status: wire.Failure, Detail: "not \x1b[1mauthorised"}, nil, `failure: not \u001b[1mauthorised`},
		{wire.Status{}, errors.New("enable_rate_limiting: no answer in 5s: is weir controller running?"), "no answer in 5s"},
		{wire.Status{}, errors.New("connect to tcp://127.0.0.1:1883: refused\nand more"), "refused; and more"},
	} {
		r := scene(t, localConfig)
		r.reply = func(wire.Command) (wire.Status, error) { return row.status, row.err }
		r.press("e")
		r.confirm()
		r.expect(row.want, row.want)
	}
}

func TestOneCommandAtATime(t *testing.T) {
	r := scene(t, localConfig)
	running := r.press("e", "y")
	if cmd := r.press("d", "y"); cmd != nil {
		t.Error("two at a time")
	}
	r.expect("meanwhile", "enable_rate_limiting sent: waiting")
	r.update(running())
	r.press("d")
	r.expect("then", "disable rate limiting?")
}

func TestNothingToBlock(t *testing.T) {
	r := newRig(t, localConfig)
	r.press("b", "y")
	r.expect("nobody", "there is no source to block")
	n := calm()
	n.TopSources = []wire.Source{{Source: "0.0.0.0/0; reboot", SYNsPerSecond: 9}}
	r.see(1, n)
	r.press("b", "y")
	r.expect("no address", "can't block 0.0.0.0/0; reboot")
	if len(r.sent) > 0 {
		t.Errorf("sent %v", r.sent)
	}
}

func TestQuit(t *testing.T) {
	quits := func(cmd tea.Cmd) bool {
		if cmd == nil {
			return false
		}
		_, ok := cmd().(tea.QuitMsg)
		return ok
	}
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"e", "ctrl+c"}, {"?", "q"}} {
		if !quits(scene(t, localConfig).press(keys...)) {
			t.Errorf("%v doesn't quit", keys)
		}
	}
	if quits(scene(t, localConfig).press("e", "q")) {
		t.Error("q in a question quits")
	}
}

func TestTab(t *testing.T) {
	cfg := localConfig
	cfg.Interfaces = []string{"eth0", "eth1"}
	r := newRig(t, cfg)
	n, other := calm(), attack()
	other.Interface = "eth1"
	r.see(1, n, other)
	r.expect("the first", "CALM", "bank_server eth0", "tab: eth1, limiting")
	r.press("tab")
	r.expect("the second", "LIMITING", "bank_server eth1", "> 198.51.100.3")
	r.press("tab")
	r.expect("around", "CALM")
}

func TestHelpNamesTheKeys(t *testing.T) {
	r := scene(t, localConfig)
	r.press("?")
	r.expect("help", "enable, disable rate limiting", "block the selected", "quit")
	r.press("e")
	r.expectNot("any key leaves, and does nothing else", "enable rate limiting?", "any key goes back")
	if fmt.Sprint(r.asked) != "<nil>" {
		t.Error(r.asked)
	}
}
