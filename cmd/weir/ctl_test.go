package main

import (
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/wire"
)

// TestStatusIsOneSafeLine, whoever has published it.
func TestStatusIsOneSafeLine(t *testing.T) {
	status := wire.Status{Command: "scale\x1b[2J", Status: wire.Success, Detail: "first\nsecond\x1b]0;x\x07\r"}
	const want = `scale\u001b[2J: success: first; second\u001b]0;x\u0007\r`
	var out strings.Builder
	if err := report(&out, status); err != nil || out.String() != want+"\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	status.Status = wire.Failure
	if err := report(&out, status); err == nil || err.Error() != strings.Replace(want, "success", "failure", 1) {
		t.Error(err)
	}
}
