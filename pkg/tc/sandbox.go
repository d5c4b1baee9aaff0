package tc

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Sandbox runs f in a network namespace of its own, which has but a loopback interface (index 1, down) and ends with f: to try what
// the kernel can do. It takes CAP_SYS_ADMIN. The kernel may load modules for f, which stay.
func Sandbox(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace to try in: %w: run as root", err)
			return
		}
		done <- f()
	}()
	return <-done
}
