package signin

import (
	"net/netip"
	"time"
)

// attempts slow guessing down. A source that fails five times waits a minute, then twice as long each time, up to an hour. So does a
// user whom twenty fail to be, but not at sources where that user has signed in before: who guesses at an administrator's name must not
// lock the administrator out. The zero value is ready; it isn't safe for use side by side.
type attempts struct {
	by      map[string]*failures
	trusted map[string]time.Time // user and source, by when they last signed in
}

type failures struct {
	n     int
	until time.Time
	last  time.Time
}

const (
	sourceTries = 5
	userTries   = 20
	firstWait   = time.Minute
	longestWait = time.Hour
	forgetAfter = 24 * time.Hour
	maxKept     = 10_000
)

// sourceOf is who a source is: an IPv4 address, or the /64 that a host may choose its addresses from.
func sourceOf(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	p, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

// wait tells how long a source has to wait before it may try to be a user.
func (a *attempts) wait(now time.Time, user, source string) time.Duration {
	var until time.Time
	if f := a.by["from "+source]; f != nil {
		until = f.until
	}
	if f := a.by["as "+user]; f != nil && f.until.After(until) {
		if !a.knows(user, source) {
			until = f.until
		}
	}
	return max(0, until.Sub(now))
}

// knows tells whether a user has signed in at a source before.
func (a *attempts) knows(user, source string) bool {
	_, known := a.trusted[user+" "+source]
	return known
}

// try counts an attempt as a failure before it is known: many at once are to count, too.
func (a *attempts) try(now time.Time, user, source string) {
	a.count(now, "from "+source, sourceTries)
	a.count(now, "as "+user, userTries)
}

func (a *attempts) count(now time.Time, key string, tries int) {
	if a.by == nil {
		a.by = map[string]*failures{}
	}
	f := a.by[key]
	if f == nil || now.Sub(f.last) > forgetAfter {
		f = &failures{}
		a.by[key] = f
		a.prune(now)
	}
	f.n++
	f.last = now
	if over := f.n - tries; over >= 0 {
		f.until = now.Add(min(firstWait<<min(over, 10), longestWait))
	}
}

// forgive takes an attempt back that came to nothing.
func (a *attempts) forgive(user, source string) {
	for _, key := range []string{"from " + source, "as " + user} {
		if f := a.by[key]; f != nil && f.n > 0 {
			f.n--
		}
	}
}

func (a *attempts) succeeded(now time.Time, user, source string) {
	a.forgive(user, source)
	delete(a.by, "from "+source)
	if a.trusted == nil {
		a.trusted = map[string]time.Time{}
	}
	a.trusted[user+" "+source] = now
	if len(a.trusted) > maxKept {
		dropOldest(a.trusted, func(t time.Time) time.Time { return t })
	}
}

// prune bounds the memory: who floods with sources pushes out the oldest, which may try again.
func (a *attempts) prune(now time.Time) {
	if len(a.by) <= maxKept {
		return
	}
	for key, f := range a.by {
		if now.Sub(f.last) > longestWait {
			delete(a.by, key)
		}
	}
	if len(a.by) > maxKept {
		dropOldest(a.by, func(f *failures) time.Time { return f.last })
	}
}

func dropOldest[T any](all map[string]T, when func(T) time.Time) {
	var oldest string
	for key, x := range all {
		if oldest == "" || when(x).Before(when(all[oldest])) {
			oldest = key
		}
	}
	delete(all, oldest)
}
