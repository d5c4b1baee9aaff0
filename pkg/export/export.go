// Package export writes the configuration of brokers that aren't ours, so that they ask everybody who he is and decide as pkg/access
// does. Gaps tells what they can't do. The package is pure but for the file of hashes.
package export

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/weir-sensor/weir/pkg/access"
	"github.com/weir-sensor/weir/pkg/trust"
)

// Options are what a trust file doesn't say.
type Options struct {
	Now    time.Time // who isn't good then is left out
	Listen string    // host:port for MQTT over TLS; empty for all addresses, port 8883
	// Dir is where the files will be on the broker's host, with its certificate, broker.crt, and key, broker.key; empty for the
	// usual folder of the broker.
	Dir string
}

// The files that all brokers are given, and that their host has already.
const (
	caFile          = "ca.crt"
	certificateFile = "broker.crt"
	keyFile         = "broker.key"
)

const defaultListen = "0.0.0.0:8883"

// user is somebody whom a broker is told of.
type user struct {
	name   string
	hashes Hashes
	rules  access.Rules
}

// target is a broker's own limits.
type target struct {
	name string
	dir  string
	// unfit says what is wrong with a level of a topic.
	unfit func(level string) string
}

// users are all who are good now. There is no user without a hash: better none of them than one who is missing.
func users(f *trust.File, hashes map[string]Hashes, now time.Time, t target) ([]user, error) {
	var all []user
	for _, id := range f.Identities {
		if id.Role == trust.Broker || id.Valid(now) != nil {
			continue
		}
		for _, level := range []string{id.Org, id.Site, id.Server} {
			why := unprintable(level)
			if why == "" {
				why = t.unfit(level)
			}
			if why != "" {
				return nil, fmt.Errorf("%s of %q: %q %s: %s needs another name there", id.Name, id.Org, level, why, t.name)
			}
		}
		h, ok := hashes[id.Name]
		if !ok {
			return nil, fmt.Errorf("there is no hash of %s's password in %s: weir keys rotate %s", id.Name, HashesFile, id.Name)
		}
		if err := h.validate(); err != nil {
			return nil, fmt.Errorf("%s of %s: %w", HashesFile, id.Name, err)
		}
		all = append(all, user{id.Name, h, access.RulesFor(id)})
	}
	if len(all) == 0 {
		return nil, errors.New("the trust file has nobody who is good now: weir keys issue")
	}
	return all, nil
}

func unprintable(level string) string {
	if strings.TrimSpace(level) != level || strings.ContainsFunc(level, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "begins or ends with a space or isn't printable"
	}
	return ""
}

// complete fills in what is usual.
func (o Options) complete(t target) (Options, string, string, error) {
	if o.Listen == "" {
		o.Listen = defaultListen
	}
	if o.Dir == "" {
		o.Dir = t.dir
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil || port == "" {
		return o, "", "", fmt.Errorf("listen %q: give host:port, such as %s", o.Listen, defaultListen)
	}
	if unprintable(o.Dir) != "" || unprintable(o.Listen) != "" || strings.ContainsAny(o.Dir+o.Listen, "\"\\ ") || !path.IsAbs(o.Dir) {
		return o, "", "", fmt.Errorf("folder %q, listen %q: give an absolute path without spaces, quotes and backslashes", o.Dir, o.Listen)
	}
	return o, host, port, nil
}

func (o Options) file(name string) string { return path.Join(o.Dir, name) }

// header is the first lines of each file; the mark begins a comment.
func header(mark string, now time.Time, more ...string) *bytes.Buffer {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s Written by weir broker export on %s. Export it again when the trust file changes.\n", mark, now.UTC().Format(time.DateTime))
	for _, line := range more {
		fmt.Fprintf(&b, "%s %s\n", mark, line)
	}
	return &b
}
