// Package command runs programs that an operator has configured: a fixed argument vector and environment, no shell, a time limit, none of
// the capabilities that weir's unit gives it, and what they print, in so far as a person can read it.
package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Command is a program with its arguments. The zero value is none.
type Command struct {
	Argv  []string // the program's whole path first
	Env   []string // NAME=value, beside PATH
	Limit time.Duration
}

// path is a daemon's: weir's own may be an administrator's.
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// leftOpen is how long output is read after the program has ended: a server that it has started may keep it open for ever.
const leftOpen = 500 * time.Millisecond

// Run runs it to its end and returns what it printed, in one line. With more variables in the environment. When the limit or ctx ends it is
// killed with its process group, and it dies with weir.
func (c Command) Run(ctx context.Context, more ...string) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(append([]string{path}, c.Env...), more...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = leftOpen
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	err = runLocked(cmd)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has ended well
	}
	output = out.String()
	switch {
	case err == nil:
		return output, nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		err = fmt.Errorf("killed: not done within its time (%v at most)", c.Limit)
	case ctx.Err() != nil:
		err = fmt.Errorf("killed: %w", ctx.Err())
	}
	if output != "" {
		output = "; it printed: " + output
	}
	return "", fmt.Errorf("%s: %w%s", c.Argv[0], err, output)
}

// runLocked keeps the thread for as long: the kernel sends the death signal when the thread ends that started the program. The thread
// gives up weir's ambient capabilities, which the program would get, for good: so it is used for nothing else and ends with the goroutine.
func runLocked(cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			ended <- fmt.Errorf("give up capabilities: %w", err)
			return
		}
		ended <- cmd.Run()
	}()
	return <-ended
}

func killGroup(pid int) error {
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

const maxOutput = 1024

// tail keeps the end of what is written, where errors stand.
type tail struct {
	kept []byte
	cut  bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b[max(0, len(b)-maxOutput):]...)
	t.cut = t.cut || len(b) > maxOutput
	if len(t.kept) > maxOutput {
		t.kept, t.cut = append(t.kept[:0], t.kept[len(t.kept)-maxOutput:]...), true
	}
	return len(b), nil
}

func (t *tail) String() string {
	text := wire.Describe([]byte(strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "?"))))
	if t.cut {
		return "… " + text
	}
	return text
}
