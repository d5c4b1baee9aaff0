package units

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/scaler"
	"github.com/weir-sensor/weir/pkg/scaler/health"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// template runs servers that accept connections: 8103 ends at once, 8104 never listens.
const template = `[Service]
Type=exec
ExecStart=/bin/sh -c '[ %i != 8103 ] || exit 1; [ %i != 8104 ] || exec sleep 1000; exec perl -e "use IO::Socket::INET; my \$s = IO::Socket::INET->new(Listen => 9, ReuseAddr => 1, LocalAddr => q(127.0.0.1:%i)) or die; while (my \$c = \$s->accept) { close \$c }"'
`

// there asks in a host's network.
type there struct {
	t     *testing.T
	host  *te.Host
	check health.Check
}

func (h there) Ask(ctx context.Context, n int) (err error) {
	h.host.Do(h.t, func() { err = h.check.Ask(ctx, n) })
	return err
}

func (h there) Await(ctx context.Context, n int) error {
	for {
		err := h.Ask(ctx, n)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func TestInstances(t *testing.T) {
	host, _ := te.Pair(t)
	file := filepath.Join(t.TempDir(), "unit")
	if err := os.WriteFile(file, []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	m := te.Boot(t, host, te.BootOptions{Binds: []string{file + ":/etc/systemd/system/bank-backend@.service:ro"}})
	const address = "DBUS_SYSTEM_BUS_ADDRESS"
	bus := "unix:path=" + m.Path("/run/dbus/system_bus_socket")
	t.Setenv(address, bus)
	run := func(program string, args ...string) string { // finds the bus in the machine by itself
		_ = os.Unsetenv(address)
		defer func() { _ = os.Setenv(address, bus) }()
		return m.Run(t, 20*time.Second, program, args...)
	}
	systemctl := func(args ...string) string { return run("systemctl", args...) }
	p := Pool{Unit: "bank-backend@.service", First: 8101, Last: 8104, Health: there{t, host, "tcp://127.0.0.1:{n}"}}
	states := func() string {
		return strings.Join(strings.Fields(systemctl("list-units", "--plain", "--no-legend", "--all", "bank-backend@*")), " ")
	}
	resize := func(to int, within time.Duration) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return p.Resize(ctx, to)
	}
	must := func(to int, want string) {
		t.Helper()
		detail, err := resize(to, 20*time.Second)
		if n, sizeErr := p.Size(t.Context()); err != nil || sizeErr != nil || n != to || detail != want {
			t.Fatalf("to %d: %q, %v; %d, %v\n%s", to, detail, err, n, sizeErr, states())
		}
	}
	must(0, "nothing to change")
	must(2, "started bank-backend@8101.service, bank-backend@8102.service")
	must(2, "nothing to change")
	must(1, "stopped bank-backend@8102.service")

	// The next but one ends at once, so it isn't active when it is undone.
	if _, err := resize(3, 2*time.Second); err == nil || !strings.Contains(err.Error(), "bank-backend@8103.service") {
		t.Errorf("one that fails: %v", err)
	}
	must(1, "stopped bank-backend@8102.service")
	if all := states(); strings.Contains(all, "8103") {
		t.Errorf("the failed one is still known:\n%s", all)
	}

	// One that runs, and isn't well, is stopped before those that are.
	if err := p.Unit.Start(t.Context(), 8104); err != nil {
		t.Fatal(err)
	}
	if _, err := resize(2, time.Second); !errors.Is(err, scaler.ErrUnwell) {
		t.Errorf("one that isn't well: %v", err)
	}
	systemctl("start", "bank-backend@8102")
	must(2, "stopped bank-backend@8104.service")

	run("ln", "-s", "bank-backend@.service", "/etc/systemd/system/alias@.service")
	systemctl("daemon-reload")
	p.Unit = "alias@.service"
	if n, err := p.Size(t.Context()); err == nil || !strings.Contains(err.Error(), "bank-backend@8101.service") {
		t.Errorf("an alias: %d, %v", n, err)
	}
	p.Unit = "nothing@.service"
	if _, err := p.Size(t.Context()); err == nil || !strings.Contains(err.Error(), "daemon-reload") {
		t.Errorf("no template: %v", err)
	}
	t.Setenv(address, "unix:path=/nowhere")
	if _, err := p.Size(t.Context()); err == nil || !strings.Contains(err.Error(), "no systemd on D-Bus") {
		t.Errorf("no systemd: %v", err)
	}
}

// TestReloadingServes: it isn't stopped for that.
func TestReloadingServes(t *testing.T) {
	active, odd := Pool{First: 1, Last: 8}.sort(map[int]string{
		1: "active", 2: "reloading", 3: "inactive", 4: "activating", 5: "failed", 6: "deactivating", 7: "refreshing",
	})
	if got := fmt.Sprint(active, odd); got != "[1 2 7] [4 5 6]" {
		t.Error(got)
	}
}
