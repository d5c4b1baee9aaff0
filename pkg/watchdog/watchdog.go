// Package watchdog tells systemd how a program fares: that it's ready, and for as long as all of its parts move, that it's alive.
package watchdog

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Dog keeps watch over the parts of a program. The zero value is ready.
type Dog struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// Part adds one, alive now, and returns what it is to call each time that it has moved. What is called must be its own loop: a
// goroutine on the side would be alive for ever.
func (d *Dog) Part(name string) (alive func()) {
	alive = func() { d.note(name, time.Now()) }
	alive()
	return alive
}

func (d *Dog) note(name string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[string]time.Time{}
	}
	d.seen[name] = now
}

// stuck are the parts that haven't moved for longer than a while before now.
func (d *Dog) stuck(now time.Time, while time.Duration) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name, seen := range d.seen {
		if now.Sub(seen) > while {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Ready tells systemd, if that has started the program, that all it is there for works.
func Ready() error {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}

// Watch tells systemd until ctx ends that the program is alive, four times in the WatchdogSec of its unit, but not while a part hasn't
// moved for half of that: then systemd ends the program and starts it again. It returns at once where systemd doesn't ask.
func (d *Dog) Watch(ctx context.Context, log *slog.Logger) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog", "err", err)
	}
	if limit <= 0 {
		return
	}
	tick := time.NewTicker(limit / 4)
	defer tick.Stop()
	said := false
	for {
		if stuck := d.stuck(time.Now(), limit/2); len(stuck) == 0 {
			said = false
			_, err = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		} else if !said {
			said = true
			log.Error("stuck: systemd will start weir again", "parts", stuck)
		}
		if err != nil {
			log.Warn("tell systemd: it will start weir again", "err", err)
			err = nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
