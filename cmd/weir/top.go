package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/top"
	"github.com/weir-sensor/weir/pkg/wire"
)

func newTop() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "top",
		Short: "Show live rates, sources, verdicts and alerts, with keys to act",
		Long: `Show what weir sees and does, live in the terminal: how things stand in words, mode, CPU, RAM, connections, what became of
each class's packets, why packets were dropped, the busiest sources, alerts and answers to commands.

Without --broker it reads this host's datapath once a second, which takes root, and has alerts from the default broker if that
is there. With --broker (or a broker in the environment or the configuration) it shows what the sensor publishes, from
anywhere and without privilege. What is old is called so: a silent sensor and a lost broker are told in the first lines.

Keys: e enables and d disables rate limiting, b blocks the selected source for an hour (up and down select); each asks first
and says what it does. tab shows the next interface, ? help, q quits. Commands go by the broker to the controller, as those
of weir ctl.

--once prints one sample and ends: after a second here, after the sensor's next metrics with --broker. With --json it is one
line of JSON (one for each interface of this host) with the members of metrics/network, cpu_usage, ram_usage, state
(waiting, calm, under_attack, limiting, challenging, beyond_host, not_guarded, sensor_silent or broker_lost), detail, alerts
and rate_limiting, the controller's last word.

NO_COLOR=1 switches colours off; without a UTF-8 locale lines are drawn in ASCII.`,
		Example: `  sudo weir top
  weir top --broker tls://mqtt.example.com
  sudo weir top --once --json | jq .verdicts.syn`,
		RunE: runTop,
	})
	cmd.Flags().Bool("once", false, "print one sample and end")
	cmd.Flags().Bool("json", false, "with --once: print JSON")
	return cmd
}

const (
	localInterval = time.Second
	answerWait    = 5 * time.Second
)

func runTop(cmd *cobra.Command, _ []string) error {
	once, _ := cmd.Flags().GetBool("once")
	asJSON, _ := cmd.Flags().GetBool("json")
	switch {
	case asJSON && !once:
		return errors.New("--json prints one sample: give --once too")
	case !once && !isTerminal(os.Stdout):
		return errors.New("top needs a terminal to draw on: give --once, or --once --json for scripts")
	}
	s, err := newSetup(cmd)
	if err != nil {
		return err
	}
	cfg := top.Config{
		Root: s.root, Broker: bus.Shown(s.cfg.Broker.URL), Remote: s.cfg.Given("broker"),
		Interval: localInterval, SYNThreshold: s.cfg.Monitor.SYNThreshold, Look: top.LookOf(os.Getenv),
	}
	var source top.Source = remote{s}
	if cfg.Remote {
		cfg.Interval = s.cfg.Sensor.Interval
	} else {
		if cfg.Interfaces, err = interfacesOf(s.cfg); err != nil {
			return err
		}
		if err := s.checkReadable(cfg.Interfaces); err != nil {
			return err
		}
		source = local{setup: s, names: cfg.Interfaces}
	}
	if once {
		return top.Once(cmd.Context(), cfg, source, asJSON, cmd.OutOrStdout())
	}
	return top.Run(cmd.Context(), cfg, source, commander{s}, os.Stdin, os.Stdout)
}

// checkReadable says what is missing before the screen is taken.
func (s setup) checkReadable(names []string) error {
	return each(names, names, func(name string) error {
		r, err := datapath.OpenReader(s.cfg.BPFFS, name)
		if err != nil {
			return fmt.Errorf("%w, or name a broker with --broker", err)
		}
		return r.Close()
	})
}

// commander sends as weir ctl does.
type commander struct{ setup }

func (c commander) Send(ctx context.Context, command wire.Command) (wire.Status, error) {
	return c.order(ctx, command, waiting{timeout: answerWait}, nil)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
