package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/wire"
)

func newCtl() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ctl",
		Short: "Send a command and wait for its status",
		Long: `Send a command to the controller over MQTT and wait for its status. The exit status is 0 if the controller reports
success, 1 if it reports failure, can't be reached or doesn't answer in time. Where a command needs two people (approval.commands), it
waits for the second.`,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // those of a command that there isn't
		RunE: func(cmd *cobra.Command, args []string) error { // cobra would print the help and exit with 0
			var verbs []string
			for _, c := range cmd.Commands() {
				verbs = append(verbs, c.Name())
			}
			choice := "give one of " + strings.Join(verbs, ", ")
			if len(args) == 0 {
				return errors.New("ctl: " + choice)
			}
			return fmt.Errorf("ctl: unknown command %.64q: %s", args[0], choice)
		},
	}
	enable := newVerb(wire.EnableRateLimiting, "Hold each source to its SYN rate, for as long as the flood lasts")
	enable.Flags().Uint64("rate", 0, "SYNs per second and source, 1 to 100000 (the controller's limit.rate)")
	enable.Flags().Uint64("burst", 0, "SYNs at once and source, 1 to 1000000 (the controller's limit.burst)")
	enable.Flags().Duration("ttl", 0, "end for certain after this time, 1s to 24h (renewed while the flood lasts)")
	cmd.AddCommand(
		enable,
		newVerb(wire.DisableRateLimiting, "Drop nothing any more"),
		newListVerb("block", wire.BlockSource, "Drop all packets of a source, but to management ports"),
		newListVerb("unblock", wire.UnblockSource, "Take a block back"),
		newListVerb("allow", wire.AllowSource, "Let all packets of a source pass, up to the ceiling"),
		newListVerb("unallow", wire.UnallowSource, "Take an allow back"),
		newScaleVerb(wire.ScaleUpServers, "Add servers, and wait until they answer"),
		newScaleVerb(wire.ScaleDownServers, "Take servers away, once their requests have ended"),
		newTestAlert(),
	)
	return cmd
}

func newVerb(command, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     strings.ReplaceAll(command, "_", "-"),
		Aliases: []string{command}, // as over MQTT
		Short:   short,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := wire.Command{Command: command, Origin: "ctl"}
			if len(args) > 0 {
				c.Source = args[0]
			}
			flags := cmd.Flags()
			c.Reason, _ = flags.GetString("reason")
			if flags.Changed("rate") {
				c.Rate, _ = flags.GetUint64("rate")
			}
			if flags.Changed("burst") {
				c.Burst, _ = flags.GetUint64("burst")
			}
			if flags.Changed("ttl") {
				ttl, _ := flags.GetDuration("ttl")
				c.TTLSeconds = ttl.Seconds()
			}
			if flags.Changed("count") {
				if c.Count, _ = flags.GetUint64("count"); c.Count == 0 {
					return errors.New("--count: give 1 or more")
				}
			}
			// A zero would be left out of the payload, and the default taken.
			if flags.Changed("rate") && c.Rate == 0 || flags.Changed("burst") && c.Burst == 0 ||
				flags.Changed("ttl") && c.TTLSeconds == 0 {
				return errors.New("--rate, --burst and --ttl: give a value above 0, or leave the flag out")
			}
			timeout, _ := flags.GetDuration("timeout")
			return send(cmd, c, timeout, flags.Changed("timeout"))
		},
	}
	cmd.Flags().String("reason", "", "for the record, 512 bytes at most")
	cmd.Flags().Duration("timeout", 5*time.Second, "how long to wait for the broker and for the status; by default longer where a second person or servers are waited for")
	return settledAs(cmd, "ctl")
}

// newTestAlert waits longer: the monitor waits for receivers.
func newTestAlert() *cobra.Command {
	cmd := newVerb(wire.TestAlert, "Have the monitor send a test to Alertmanager, webhooks and syslog")
	timeout := cmd.Flags().Lookup("timeout")
	timeout.DefValue = "15s"
	_ = timeout.Value.Set(timeout.DefValue) // a duration
	return cmd
}

// newListVerb is a verb for a source.
func newListVerb(verb, command, short string) *cobra.Command {
	cmd := newVerb(command, short)
	cmd.Use = verb + " ADDRESS|PREFIX"
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s: give one address or prefix, like 192.0.2.7 or 2001:db8::/32", verb)
		}
		return nil
	}
	if command == wire.BlockSource || command == wire.AllowSource {
		cmd.Flags().Duration("ttl", time.Hour, "how long, 1s to 24h")
	}
	return cmd
}

// newScaleVerb is a verb that changes how many servers there are.
func newScaleVerb(command, short string) *cobra.Command {
	cmd := newVerb(command, short)
	cmd.Flags().Uint64("count", 1, fmt.Sprintf("servers, 1 to %d", wire.MaxCount))
	return cmd
}

func report(w io.Writer, status wire.Status) error {
	line := status.Command + ": " + status.Status
	if status.Detail != "" {
		line += ": " + status.Detail
	}
	line = shown(line)
	if status.Status != wire.Success {
		return errors.New(line)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// shown makes one line of what somebody else says, that a terminal can't take for commands.
func shown(text string) string {
	return wire.Describe([]byte(strings.ReplaceAll(text, "\n", "; ")))
}
