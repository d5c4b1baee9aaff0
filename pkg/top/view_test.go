package top

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charm.land/lipgloss/v2"

	"github.com/weir-sensor/weir/pkg/wire"
)

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

// trimmed has no blanks at the ends of lines, which editors remove.
func trimmed(screen string) string {
	var b strings.Builder
	for line := range strings.Lines(screen + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func TestScreens(t *testing.T) {
	for _, size := range [][2]int{{60, 15}, {80, 24}, {120, 40}, {200, 50}} {
		t.Run(sized(size[0], size[1]), func(t *testing.T) {
			r := scene(t, localConfig)
			r.size(size[0], size[1])
			r.fits()
			golden(t, "attack-"+sized(size[0], size[1]), trimmed(r.screen()))
		})
	}
	r := scene(t, localConfig)
	r.press("?")
	golden(t, "help-80x24", trimmed(r.screen()))
	r.press("x", "b")
	golden(t, "block-80x24", trimmed(r.screen()))
	cfg := localConfig
	cfg.Look.ASCII = true
	golden(t, "ascii-80x24", trimmed(scene(t, cfg).screen()))
}

// TestEverySizeFits draws each screen there is at every size, with styles as well.
func TestEverySizeFits(t *testing.T) {
	for _, look := range []Look{{Plain: true}, {}, {NoColor: true}, {ASCII: true}} {
		cfg := localConfig
		cfg.Look = look
		for _, keys := range [][]string{{}, {"?"}, {"b"}, {"e", "n"}} {
			r := scene(t, cfg)
			r.press(keys...)
			for w := 1; w <= 260; w += 23 {
				for h := 1; h <= 80; h += 7 {
					r.size(w, h)
					r.fits()
				}
			}
		}
	}
}

func TestHeadlineAtAnySize(t *testing.T) {
	r := scene(t, localConfig)
	for _, size := range [][2]int{{20, 3}, {59, 30}, {100, 14}, {60, 15}} {
		r.size(size[0], size[1])
		r.expect(sized(size[0], size[1]), "LIMITING")
	}
}

func TestColours(t *testing.T) {
	for _, row := range []struct {
		look              Look
		escapes, coloured bool
	}{{Look{}, true, true}, {Look{NoColor: true}, true, false}, {Look{Plain: true}, false, false}} {
		cfg := localConfig
		cfg.Look = row.look
		got := scene(t, cfg).screen()
		if strings.Contains(got, "\x1b[") != row.escapes {
			t.Errorf("%+v: escape sequences %v", row.look, !row.escapes)
		}
		coloured := false
		for _, seq := range strings.Split(got, "\x1b[")[1:] {
			codes, _, _ := strings.Cut(seq, "m")
			for _, code := range strings.Split(codes, ";") {
				coloured = coloured || len(code) == 2 && (code[0] == '3' || code[0] == '4')
			}
		}
		if coloured != row.coloured {
			t.Errorf("%+v: coloured %v", row.look, coloured)
		}
	}
}

func TestLookOf(t *testing.T) {
	for _, row := range []struct {
		env  map[string]string
		want Look
	}{
		{nil, Look{}},
		{map[string]string{"NO_COLOR": "please", "LANG": "de_CH.UTF-8"}, Look{NoColor: true}},
		{map[string]string{"LANG": "C"}, Look{ASCII: true}},
		{map[string]string{"LANG": "en_US.utf8", "LC_ALL": "POSIX"}, Look{ASCII: true}},
		{map[string]string{"LC_CTYPE": "C.UTF-8", "LANG": "C"}, Look{}},
		{map[string]string{"TERM": "linux", "LANG": "C.UTF-8"}, Look{ASCII: true}},
	} {
		if got := LookOf(func(name string) string { return row.env[name] }); got != row.want {
			t.Errorf("%v: %+v", row.env, got)
		}
	}
}

func TestASCIIMeansIt(t *testing.T) {
	cfg := localConfig
	cfg.Look.ASCII = true
	r := scene(t, cfg)
	for _, size := range [][2]int{{60, 15}, {200, 50}} {
		r.size(size[0], size[1])
		for _, c := range r.screen() {
			if c > 0x7e {
				t.Fatalf("%q in\n%s", c, r.screen())
			}
		}
	}
}

// TestSensorWithoutVerdicts doesn't take what is unknown for nothing.
func TestSensorWithoutVerdicts(t *testing.T) {
	r := newRig(t, localConfig)
	n := attack()
	n.Verdicts = nil
	delete(n.Rates, "icmp")
	r.see(1, n)
	r.expect("an older sensor", "SYN 24,012 - - - -", "UDP 0 0 0 0 0", "ICMP - - - - -")
}

func TestHostileTextMovesNoCursor(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202eabc\r\n\x00界界\u0301"
	cfg := remoteConfig
	r := newRig(t, cfg)
	r.see(1, Link{Up: true})
	n := attack()
	n.Interface, n.Tier = evil, evil
	n.TopSources = []wire.Source{{Source: evil, SYNsPerSecond: 1e308, Limited: true}, {Source: evil}, {Source: strings.Repeat("界", 500), SYNsPerSecond: -1}}
	n.Drops = map[string]uint64{evil: 1 << 63, strings.Repeat("x", 9000): 1}
	n.LeaseSeconds, n.IntervalSeconds = 1e300, 1e-300
	r.see(2, n, wire.Alert{Alert: evil, State: evil, Metric: evil, Value: 1e300, Threshold: 1},
		wire.Status{Command: evil, Status: wire.Failure, Detail: strings.Repeat(evil, 100), Origin: evil},
		Unreadable{evil, errText(evil)}, ended{errText(evil)})
	for _, keys := range [][]string{{}, {"b"}, {"down", "b"}, {"?"}, {"e"}} {
		r.press(keys...)
		for w := 60; w < 220; w += 20 {
			r.size(w, 30)
			r.fits()
			for _, c := range r.screen() {
				if c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\u202e' {
					t.Fatalf("%q in %q", c, r.screen())
				}
			}
		}
		r.press("esc")
	}
	if len(r.picture.faces[0].network.TopSources) != 2 {
		t.Error("a source is there twice")
	}
}

type errText string

func (e errText) Error() string { return string(e) }

func TestNumbers(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 0.25: "0.2", 3: "3", 9.94: "9.9", 9.96: "10", 999: "999", 1000: "1,000", 123456.7: "123,457", 9_999_999: "9,999,999",
		12_345_678: "12.3M", 4.2e9: "4.2G", 1e300: "1.0e+300", -5: "-5.0e+00",
	} {
		if got := number(x); got != want || lipgloss.Width(got) > 10 {
			t.Errorf("%g: %q, want %q", x, got, want)
		}
	}
}
