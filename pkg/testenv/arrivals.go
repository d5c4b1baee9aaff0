package testenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// arrivals counts the frames that a host's interface has received. A veth counts them after its XDP program has run,
// whatever that decided.
type arrivals struct {
	host *Host
	dev  *os.File // /proc/net/dev of the namespace in which it was opened
}

func openArrivals(h *Host) (*arrivals, error) {
	a := &arrivals{host: h}
	var err error
	if e := h.enter(func() { a.dev, err = os.Open("/proc/thread-self/net/dev") }); e != nil {
		return nil, e
	}
	return a, err
}

func (a *arrivals) count() (uint64, error) {
	var b [4096]byte
	n, err := a.dev.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	_, line, found := strings.Cut(string(b[:n]), a.host.Interface+":")
	fields := strings.Fields(line) // bytes, packets, …
	if !found || len(fields) < 2 {
		return 0, fmt.Errorf("%s has no interface %s", a.host.Name, a.host.Interface)
	}
	return strconv.ParseUint(fields[1], 10, 64)
}

// await waits until so many frames have come.
func (a *arrivals) await(want uint64) error {
	var got uint64
	ok, err := poll(func() (bool, error) {
		var err error
		got, err = a.count()
		return got >= want, err
	})
	if err == nil && !ok {
		return fmt.Errorf("%d frames did not arrive at %s", want-got, a.host.Name)
	}
	return err
}
