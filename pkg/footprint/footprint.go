// Package footprint gives memory back to the kernel that only the start of a process needed.
package footprint

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Percent is by how much the heap may grow before it is collected: a quarter of Go's default. weir allocates little while nothing
// happens, so that costs it next to nothing.
const Percent = 25

// Shrink collects the heap, and then as DropProgram does.
func Shrink() error {
	debug.SetGCPercent(Percent)
	debug.FreeOSMemory()
	return DropProgram()
}

// DropProgram lets go of the program's own pages: reading flags and loading a datapath touches most of the program, running it a small
// part. Those that are still needed come back from the page cache, in less than a millisecond for all, each with fifteen around it: in some
// minutes most would be there again, hence once in a while. It unmaps the pages of what is mapped of the program, but for what was ever
// written: relocations are in mappings that can't be written any more.
func DropProgram() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range clean(string(smaps), self) {
		if err := unix.Madvise(region(m.from, m.to), unix.MADV_DONTNEED); err != nil {
			errs = append(errs, fmt.Errorf("let go of pages: %w", err))
		}
	}
	return errors.Join(errs...)
}

type mapping struct{ from, to uintptr }

// clean reads proc_pid_smaps(5): private mappings of a file that can't be written, and of which no page was changed.
func clean(smaps, file string) (all []mapping) {
	var m mapping
	var ours bool
	for line := range strings.Lines(smaps) {
		f := strings.Fields(line)
		if len(f) >= 5 && len(f[1]) == 4 {
			low, high, _ := strings.Cut(f[0], "-")
			from, err1 := strconv.ParseUint(low, 16, 64)
			to, err2 := strconv.ParseUint(high, 16, 64)
			m = mapping{uintptr(from), uintptr(to)}
			ours = len(f) == 6 && f[5] == file && f[1][:2] == "r-" && f[1][3] == 'p' && err1 == nil && err2 == nil && from < to
		}
		if ours && len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" {
			all = append(all, m)
		}
	}
	return all
}

// region is memory that isn't Go's.
func region(from, to uintptr) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&from))), to-from)
}
