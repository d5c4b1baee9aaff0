package datapath

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

var (
	// ErrNotAttached is returned where there is no datapath on the interface.
	ErrNotAttached = errors.New("no datapath is attached")

	// ErrNoChallenge is returned where SYNs can't be challenged.
	ErrNoChallenge = errors.New("SYNs can't be challenged")

	// ErrNoFallback is returned where the kernel's own cookies can't be made in XDP.
	ErrNoFallback = errors.New("SYNs to listeners that take only the kernel's own cookies aren't challenged")

	// ErrNoProgram is returned where none of the datapath's programs can be had, for want of a kernel or a driver that takes it.
	ErrNoProgram = errors.New("no BPF program can be attached")

	// ErrDetached is returned by a Reader whose datapath was unloaded, or whose interface is gone.
	ErrDetached = errors.New("the datapath was detached")

	// ErrUnloaded is ErrDetached where the interface is still there: somebody wants it so.
	ErrUnloaded = fmt.Errorf("%w by weir unload", ErrDetached)
)

// noProgram is an error that is ErrNoProgram as well, and doesn't say so twice.
type noProgram struct{ error }

func (e noProgram) Unwrap() []error { return []error{e.error, ErrNoProgram} }

// VerboseError carries the verifier's log for --verbose.
type VerboseError struct {
	err *ebpf.VerifierError
}

func (e *VerboseError) Error() string {
	return fmt.Sprintf("load the datapath: the kernel's verifier refuses it (%v): run with --verbose and report the log", e.err.Cause)
}

// Log is the verifier's log, many lines.
func (e *VerboseError) Log() string { return fmt.Sprintf("%+v", e.err) }

func (e *VerboseError) Unwrap() error { return e.err }

// explainLoad puts what the kernel says about loading into one line with its mend.
func explainLoad(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.Is(err, unix.EPERM):
		return errors.New("load the datapath: not permitted: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")
	case errors.As(err, &verifier):
		return noProgram{&VerboseError{verifier}}
	}
	if isTransient(err) {
		return fmt.Errorf("load the datapath: %w", err)
	}
	return noProgram{fmt.Errorf("load the datapath: %w", err)}
}

// isTransient tells whether a refusal says nothing about what the kernel can do.
func isTransient(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOMEM, unix.EAGAIN, unix.EINTR, unix.EMFILE, unix.ENFILE},
		func(e error) bool { return errors.Is(err, e) })
}

func notAttached(iface string) error {
	return fmt.Errorf("%w to %s: start weir sensor or weir up on this host first", ErrNotAttached, iface)
}

// explainOpen does the same for a pin that can't be opened.
func explainOpen(iface string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return notAttached(iface)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("open the datapath of %s: not permitted: run as root", iface)
	}
	return fmt.Errorf("open the datapath of %s: %w", iface, err)
}
