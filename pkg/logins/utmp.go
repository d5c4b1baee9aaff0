package logins

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
)

// utmpFile holds a record for each login with a terminal, which sshd writes itself. Only root and programs of the group utmp can.
const utmpFile = "/run/utmp"

// Fields of struct utmp, utmp(5), in glibc's form; the times between are shorter on some machines than on others.
const (
	userProcess = 7
	utmpPID     = 4
	utmpHost    = 76 // to
	utmpHostEnd = 332
)

const maxUtmp = 1 << 20 // bytes that are read

// layout are the size of a record, and where its address begins.
func layout() (size, address int) {
	switch runtime.GOARCH {
	case "arm64", "riscv64", "loong64":
		return 400, 360
	}
	return 384, 348
}

// entry is a login.
type entry struct {
	pid  int
	host string // a name, or the address
	from netip.Addr
}

// entries are the logins from elsewhere. What isn't whole is left out.
func entries(utmp []byte) (found []entry) {
	size, address := layout()
	for ; len(utmp) >= size; utmp = utmp[size:] {
		if binary.NativeEndian.Uint16(utmp) != userProcess {
			continue
		}
		from := netip.AddrFrom16([16]byte(utmp[address:])).Unmap()
		if rest := utmp[address+4 : address+16]; string(rest) == strings.Repeat("\x00", len(rest)) {
			from = netip.AddrFrom4([4]byte(utmp[address:]))
		}
		if pid := int32(binary.NativeEndian.Uint32(utmp[utmpPID:])); pid > 0 && !from.IsUnspecified() {
			host, _, _ := bytes.Cut(utmp[utmpHost:utmpHostEnd], []byte{0})
			found = append(found, entry{int(pid), string(host), from})
		}
	}
	return found
}

// byUtmp are utmp's logins that sshd has made and that go on: a record outlives an sshd that is killed.
func (f *Finder) byUtmp() (found []entry, err error) {
	file, err := os.Open(f.utmp)
	if err != nil {
		return nil, fmt.Errorf("look for SSH sessions: %w", err)
	}
	defer func() { _ = file.Close() }()
	records, err := io.ReadAll(io.LimitReader(file, maxUtmp))
	if err != nil {
		return nil, fmt.Errorf("look for SSH sessions: %w", err)
	}
	for _, e := range entries(records) {
		if f.ofSSHD(e.pid) {
			found = append(found, e)
		}
	}
	return found, nil
}

// ofSSHD tells whether a process goes on that is root's and calls itself sshd, or has one above it that does. What a record names is
// sshd's process for the user, or the user's shell. It takes no privilege.
func (f *Finder) ofSSHD(pid int) bool {
	for depth := 0; depth < maxDepth; depth++ {
		p, err := f.process(pid)
		if err != nil {
			return false
		}
		if ids := f.users(pid); strings.HasPrefix(p.name, sshd) && len(ids) == 4 && ids[1] == "0" {
			return true
		}
		pid = p.parent
	}
	return false
}
