package hoststats

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// DefaultInterface returns the interface of the default route with the lowest metric, of IPv4 or else of IPv6.
func DefaultInterface() (string, error) {
	var errs []error
	for _, table := range []struct {
		path  string
		parse func(fields []string) (route, bool)
	}{{"/proc/self/net/route", parseRoute}, {"/proc/self/net/ipv6_route", parseRoute6}} {
		iface, err := readDefault(table.path, table.parse)
		if iface != "" {
			return iface, nil
		}
		// A kernel without IPv6 has no such file.
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return "", fmt.Errorf("look for the default route: %w: name the interface with --interface", err)
	}
	return "", errors.New("there is no default route to take the interface from: name it with --interface")
}

func readDefault(path string, parse func([]string) (route, bool)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	return defaultRoute(f, parse)
}

// route is a default route.
type route struct {
	iface  string
	metric uint32
}

// defaultRoute returns the interface of the best default route, "" if there is none. Our own parser, since that of procfs
// gives up at metrics above 2^31 (the kernel prints them below zero) and at flags with a hexadecimal letter.
func defaultRoute(r io.Reader, parse func([]string) (route, bool)) (string, error) {
	var best route
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		found, ok := parse(strings.Fields(lines.Text()))
		if ok && (best.iface == "" || found.metric < best.metric) {
			best = found
		}
	}
	return best.iface, lines.Err()
}

// RTF_UP and RTF_REJECT of linux/route.h.
const (
	flagUp     = 0x0001
	flagReject = 0x0200 // unreachable, prohibit and blackhole
)

func usable(iface string, flags uint32) bool {
	return flags&(flagUp|flagReject) == flagUp && iface != "*" && iface != "lo"
}

// parseRoute reads a line of /proc/net/route: Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT.
// It tells whether this is a default route that can be used; what isn't a route at all can't.
func parseRoute(fields []string) (route, bool) {
	if len(fields) < 8 {
		return route{}, false
	}
	destination, ok1 := hex32(fields[1])
	flags, ok2 := hex32(fields[3])
	metric, err := strconv.ParseInt(fields[6], 10, 64)
	mask, ok3 := hex32(fields[7])
	ok := ok1 && ok2 && ok3 && err == nil && destination == 0 && mask == 0 && usable(fields[0], flags)
	return route{fields[0], uint32(metric)}, ok
}

// parseRoute6 reads a line of /proc/net/ipv6_route: destination, its length, source, its length, next hop, metric,
// reference count, use, flags, all hexadecimal, and the interface.
func parseRoute6(fields []string) (route, bool) {
	if len(fields) < 10 {
		return route{}, false
	}
	metric, ok1 := hex32(fields[5])
	flags, ok2 := hex32(fields[8])
	ok := ok1 && ok2 && fields[1] == "00" && fields[3] == "00" && usable(fields[9], flags)
	return route{fields[9], metric}, ok
}

func hex32(s string) (uint32, bool) {
	x, err := strconv.ParseUint(s, 16, 32)
	return uint32(x), err == nil
}
