package testenv

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running command of a host.
type Process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error // valid once done is closed
}

// Start starts a command in the host. It is ended with the test, which shows its output if it has failed.
func (h *Host) Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return h.StartCmd(t, h.Command(context.Background(), name, args...))
}

// StartCmd is Start for a command of the same host's Command, to which the caller may have added surroundings.
func (h *Host) StartCmd(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	p.start(t, h)
	return p
}

func (p *Process) start(t testing.TB, h *Host) {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop()
		if hasRace(p.Output()) {
			t.Errorf("%s: %s has a data race", h.Name, strings.Join(p.cmd.Args, " "))
		}
		if t.Failed() {
			t.Logf("%s: %s printed:\n%s", h.Name, strings.Join(p.cmd.Args, " "), tail(controls.ReplaceAllString(p.Output(), " ")))
		}
	})
}

// PID is the process's number, which is its process group's too.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is all that it has printed so far, standard output and error.
func (p *Process) Output() string { return p.out.String() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) {
	select {
	case <-p.done: // its number may be another's by now
	default:
		_ = syscall.Kill(p.PID(), s)
	}
}

// Kill kills the process alone, as `kill -9` does, and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Wait waits for the end of the process and gives its error, as exec.Cmd.Wait.
func (p *Process) Wait(timeout time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(timeout):
		return errors.New("still running after " + timeout.String())
	}
}

// Stop asks the process to end, after 5 s kills it, and its children with it.
func (p *Process) Stop() {
	p.Signal(syscall.SIGTERM)
	if p.Wait(5*time.Second) != nil {
		p.Signal(syscall.SIGKILL)
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // the group keeps its number while it has members
	<-p.done
}

// Await waits until the process has printed a text; the test ends if it doesn't.
func (p *Process) Await(t testing.TB, text string, timeout time.Duration) {
	t.Helper()
	Eventually(t, timeout, "output with "+text, func() bool {
		if strings.Contains(p.Output(), text) {
			return true
		}
		select {
		case <-p.done:
			if !strings.Contains(p.Output(), text) {
				t.Fatalf("%s ended (%v) before it printed %q", p.cmd.Args, p.err, text)
			}
			return true
		default:
			return false
		}
	})
}

// Eventually asks cond every 10 ms; the test ends if it isn't true in time.
func Eventually(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s", what, timeout)
		}
	}
}

// output collects what a process prints while others read it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail keeps what fits a test's log: the last 100 lines, 300 bytes of each.
func tail(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	lines = lines[max(0, len(lines)-100):]
	for i, line := range lines {
		if len(line) > 300 {
			lines[i] = line[:300] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// hasRace tells whether the race detector of a program that was built with it has found anything, but for what mochi-mqtt v2.7.9 does
// itself: a topic's first retained message is noted under a lock that a subscriber's search doesn't take.
func hasRace(output string) bool {
	for i, report := range strings.Split(output, "WARNING: DATA RACE") {
		report, _, _ = strings.Cut(report, "==================")
		known := strings.Contains(report, "v2.(*TopicsIndex).RetainMessage()") && strings.Contains(report, "v2.(*TopicsIndex).scanMessages()")
		if i > 0 && !known {
			return true
		}
	}
	return false
}
