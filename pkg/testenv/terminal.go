package testenv

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a process with a terminal of its own, on which the test types.
type Terminal struct {
	*Process
	ptmx, tty *os.File
	t         testing.TB
	mark      int // how much was drawn before the last key
}

// StartInTerminal starts a command of the host in a pseudo-terminal of so many columns and lines.
func (h *Host) StartInTerminal(t testing.TB, columns, lines int, name string, args ...string) *Terminal {
	t.Helper()
	ptmx, tty, err := openPTY()
	if err != nil {
		t.Fatalf("open a pseudo-terminal: %v", err)
	}
	x := &Terminal{ptmx: ptmx, tty: tty, t: t}
	t.Cleanup(func() { ptmx.Close(); tty.Close() })
	x.resize(columns, lines)
	cmd := h.Command(context.Background(), name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	x.Process = &Process{cmd: cmd, done: make(chan struct{})}
	x.start(t, h)
	go func() { _, _ = io.Copy(&x.out, ptmx) }() // until it is closed
	return x
}

// openPTY keeps the terminal's side open as well: else its end would be lost with the process's.
func openPTY() (ptmx, tty *os.File, err error) {
	if ptmx, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ptmx.Close()
	}
	return ptmx, tty, err
}

// Resize changes the terminal's size, of which the process is told.
func (x *Terminal) Resize(columns, lines int) {
	x.t.Helper()
	x.mark = len(x.Output())
	x.resize(columns, lines)
}

func (x *Terminal) resize(columns, lines int) {
	x.t.Helper()
	size := unix.Winsize{Col: uint16(columns), Row: uint16(lines)}
	if err := unix.IoctlSetWinsize(int(x.ptmx.Fd()), unix.TIOCSWINSZ, &size); err != nil {
		x.t.Fatalf("resize the terminal: %v", err)
	}
}

// Type presses keys.
func (x *Terminal) Type(keys string) {
	x.t.Helper()
	x.mark = len(x.Output())
	if _, err := x.ptmx.WriteString(keys); err != nil {
		x.t.Fatalf("type %q: %v", keys, err)
	}
}

// Echoes tells whether the terminal shows what is typed, as it does for a shell and not for a program that draws.
func (x *Terminal) Echoes() bool {
	x.t.Helper()
	mode, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO != 0
}

var controls = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[()][A-Z0-9]|.)`)

// AwaitWord waits until a word is drawn after the last key or change of size. Only what has changed is drawn anew: look for a
// word that wasn't there.
func (x *Terminal) AwaitWord(word string, timeout time.Duration) {
	x.t.Helper()
	Eventually(x.t, timeout, fmt.Sprintf("%q on the terminal", word), func() bool {
		return strings.Contains(controls.ReplaceAllString(x.Output()[x.mark:], " "), word)
	})
}
