// Package units starts and stops instances of a systemd template unit, over D-Bus.
package units

import (
	"context"
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Template is a template unit, like bank-backend@.service.
type Template string

func (t Template) unit(n int) string {
	name, suffix, _ := strings.Cut(string(t), "@")
	return fmt.Sprintf("%s@%d%s", name, n, suffix)
}

// Start starts an instance and waits until systemd says that it runs.
func (t Template) Start(ctx context.Context, n int) error {
	return with(ctx, func(c *dbus.Conn) error {
		return t.job(ctx, c, n, "start", c.StartUnitContext)
	})
}

// Stop stops one and waits until it has ended. One that has failed is forgotten.
func (t Template) Stop(ctx context.Context, n int) error {
	return with(ctx, func(c *dbus.Conn) error {
		if err := t.job(ctx, c, n, "stop", c.StopUnitContext); err != nil {
			return err
		}
		_ = c.ResetFailedUnitContext(ctx, t.unit(n)) // mostly there is nothing to forget
		return nil
	})
}

type begin func(ctx context.Context, name, mode string, ended chan<- string) (int, error)

func (t Template) job(ctx context.Context, c *dbus.Conn, n int, verb string, begin begin) error {
	name := t.unit(n)
	ended := make(chan string, 1)
	if _, err := begin(ctx, name, "replace", ended); err != nil {
		if verb == "stop" && strings.Contains(err.Error(), "not loaded") {
			return nil
		}
		return fmt.Errorf("systemd can't %s %s: %w", verb, name, err)
	}
	select {
	case result := <-ended:
		if result != "done" {
			return fmt.Errorf("systemd didn't %s %s: %s: see journalctl -u %s", verb, name, result, name)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: systemd still has to %s %s", ctx.Err(), verb, name)
	}
}

// states are systemd's of each instance from first to last: active, inactive, failed, activating, …
func (t Template) states(ctx context.Context, first, last int) (map[int]string, error) {
	names, numbers := []string{}, map[string]int{}
	for n := first; n <= last; n++ {
		names, numbers[t.unit(n)] = append(names, t.unit(n)), n
	}
	states := map[int]string{}
	return states, with(ctx, func(c *dbus.Conn) error {
		all, err := c.ListUnitsByNamesContext(ctx, names)
		if err != nil {
			return fmt.Errorf("systemd doesn't tell of %s: %w", t, err)
		}
		for _, u := range all {
			if u.LoadState == "not-found" || u.LoadState == "bad-setting" || u.LoadState == "error" {
				return fmt.Errorf("systemd has no %s (%s): is it in /etc/systemd/system, and was systemctl daemon-reload done?", t, u.LoadState)
			}
			n, asked := numbers[u.Name]
			if !asked { // an alias: counted by it there would be none
				return fmt.Errorf("systemd calls an instance of %s %.200q: give scaling.unit the template's own name", t, u.Name)
			}
			states[n] = u.ActiveState
		}
		return nil
	})
}

// with connects for a moment: a scaler is at rest nearly always.
func with(ctx context.Context, do func(*dbus.Conn) error) error {
	c, err := dbus.NewWithContext(ctx)
	if err != nil {
		return fmt.Errorf("no systemd on D-Bus: is this host booted with it, and may weir's user manage units? %w", err)
	}
	defer c.Close()
	return do(c)
}
