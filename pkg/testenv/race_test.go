package testenv

import "testing"

func TestRacesAreFound(t *testing.T) {
	const known = "==================\nWARNING: DATA RACE\nWrite at 0x00 by goroutine 57:\n  x/v2.(*TopicsIndex).RetainMessage()\n\n" +
		"Previous read at 0x00 by goroutine 84:\n  x/v2.(*TopicsIndex).scanMessages()\n==================\n"
	const other = "==================\nWARNING: DATA RACE\nWrite at 0x00 by goroutine 1:\n  weir.x()\n==================\n"
	for output, want := range map[string]bool{"": false, "msg=ready\n": false, known: false, other: true, known + other: true, known + "x" + known: false} {
		if hasRace(output) != want {
			t.Errorf("%v, want %v, of %q", !want, want, output)
		}
	}
}
