package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/config"
)

// extra makes the commands of builds with tags.
var extra []func() *cobra.Command

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Packet-level denial-of-service sensor and rate limiter",
		Long: `weir counts and judges every packet of a server in XDP, publishes what it sees over MQTT, raises alerts, and holds
floods back by a command that anybody authorised may send.

  sudo weir up                 everything on this machine
  weir ctl enable-rate-limiting
  sudo weir status
  sudo weir top                live, with keys to enable, disable and block`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return config.Misused(err) })
	root.PersistentFlags().String("config", "", "YAML `FILE` with settings, as weir config prints them (WEIR_CONFIG, or "+config.DefaultFile+" if it's there)")
	root.PersistentFlags().Bool("verbose", false, "debug messages, and the verifier's log when a program is refused")
	root.AddCommand(
		newUp(), newSensor(), newMonitor(), newController(), newBroker(), newWeb(),
		newKeys(), newSign(), newVerify(), newAudit(), newCtl(), newStatus(), newTop(), newUnload(), newLeaseGuard(), newDoctor(), newConfig(), newVersion(),
	)
	for _, make := range extra {
		root.AddCommand(make())
	}
	return root
}

// settled registers the settings that a command uses as its flags.
func settled(cmd *cobra.Command) *cobra.Command { return settledAs(cmd, cmd.Name()) }

func settledAs(cmd *cobra.Command, name string) *cobra.Command {
	config.Register(cmd.Flags(), name)
	if cmd.Args == nil {
		cmd.Args = cobra.NoArgs
	}
	return cmd
}

// load merges flags, environment, file and defaults, in this order of precedence.
func load(cmd *cobra.Command) (*config.Config, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(cmd.Flags(), file, os.Environ())
	if err != nil {
		return nil, err
	}
	if verbose, _ := cmd.Flags().GetBool("verbose"); verbose {
		cfg.Log.Level = "debug"
	}
	return cfg, nil
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "weir", version)
			return err
		},
	}
}

func newConfig() *cobra.Command {
	return settled(&cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, every key explained",
		Long: `Print the effective configuration as YAML: what defaults, file, environment and flags come to, every key explained.
The output is a configuration file. Passwords are left out.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			return config.Dump(cmd.OutOrStdout(), cfg)
		},
	})
}
