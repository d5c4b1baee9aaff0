package controller

import (
	"testing"

	"github.com/weir-sensor/weir/pkg/wire"
)

// However many names somebody invents, there are only so many numbers.
func TestCommandsAreCounted(t *testing.T) {
	s := Stats{Commands: map[Result]uint64{}}
	for _, status := range []wire.Status{
		{Command: wire.EnableRateLimiting, Status: wire.Success},
		{Command: wire.EnableRateLimiting, Status: wire.Success, Origin: "monitor"},
		{Command: wire.EnableRateLimiting, Status: wire.Failure, ApprovalUntil: 1},
		{Command: "shell", Status: wire.Failure},
		{Command: "rm", Status: wire.Failure},
		{Command: "", Status: wire.Failure, Origin: ownOrigin},
		{Command: wire.DisableRateLimiting, Status: wire.Success, Origin: ownOrigin}, // a lease that ended: nobody's command
	} {
		s.count(status)
	}
	for r, want := range map[Result]uint64{
		{wire.EnableRateLimiting, wire.Success}: 2, {wire.EnableRateLimiting, Waiting}: 1, {Unknown, wire.Failure}: 3,
	} {
		if s.Commands[r] != want {
			t.Errorf("%v: %d, want %d", r, s.Commands[r], want)
		}
		delete(s.Commands, r)
	}
	if len(s.Commands) > 0 {
		t.Errorf("counted, too: %v", s.Commands)
	}
}
