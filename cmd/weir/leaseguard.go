package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/policer"
)

// leaseGuard is a process of its own that ends tc's limit when its lease is over, whatever became of the others: unlike XDP, tc doesn't
// look at the clock. Of one interface there is but one, and when it is asked to end it ends the limit, for nobody might do so after it.
type leaseGuard struct {
	iface      string
	complaints *console.Complaints

	mu    sync.Mutex
	ended chan struct{} // nil before the first start
}

// start makes sure that it runs.
func (g *leaseGuard) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended != nil {
		select {
		case <-g.ended:
		default:
			return nil
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "lease-guard", g.iface)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what kills the terminal's processes doesn't kill it
	// It doesn't write where this process does: whoever reads that to its end would wait for the guard, which lives longer.
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start the lease's guard: %w", err)
	}
	ended := make(chan struct{})
	g.ended = ended
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(said); lines.Scan(); {
			g.complaints.Warn(time.Now(), "the guard of tc's lease complains", "interface", g.iface, "err", lines.Text())
		}
		_, _ = io.Copy(io.Discard, said) // behind a line that is too long
		_ = cmd.Wait()                   // it is started again at the next renewal
	}()
	return nil
}

// guardLook is how often the guard looks whether the lease was renewed or ended.
const guardLook = 5 * time.Second

func newLeaseGuard() *cobra.Command {
	return &cobra.Command{
		Use:    "lease-guard INTERFACE",
		Short:  "End tc's limit when its lease is over (started by the controller)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal.Ignore(syscall.SIGPIPE)                                                 // it must go on when nobody reads any more what it says
			p, err := newPolicer(config.Default(), args[0], slog.New(slog.DiscardHandler)) // which tells of installing alone
			if err != nil {
				return err
			}
			alone, err := p.Sole(cmd.Context(), 2*guardLook)
			if errors.Is(err, policer.ErrLocked) {
				return nil // another guards it
			}
			if err != nil {
				return err
			}
			defer func() { _ = alone.Close() }() // dying closes it as well
			for {
				state, err := p.State()
				if err == nil && state.Limit == (datapath.Limit{}) {
					return nil
				}
				if err == nil {
					_, err = p.Expire()
				}
				pause := max(min(state.Lease, guardLook), 100*time.Millisecond)
				if err != nil {
					pause = guardLook
					cmd.PrintErrln("tc's limit can't be looked after:", oneLine(err))
				}
				select {
				case <-time.After(pause):
				case <-cmd.Context().Done():
					return p.Disable()
				}
			}
		},
	}
}
