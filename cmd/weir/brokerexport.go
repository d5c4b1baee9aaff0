package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/export"
	"github.com/weir-sensor/weir/pkg/trust"
)

func newBrokerExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the configuration of another broker: who may connect, and do what",
		Long: `Write the configuration of mosquitto, EMQX or NATS from the trust file: TLS with client certificates, a user and a password
for each identity, and rules for topics that decide as the embedded broker does. docs/brokers.md lists what these brokers can't do.
Export again after each change of the trust file, and reload the broker. haproxy is a front that adds the limits they lack.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("broker export: give one of mosquitto, emqx, nats, haproxy")
		},
	}
	cmd.PersistentFlags().String("trust", "/etc/weir/trust.json", "the trust file")
	cmd.PersistentFlags().String("secrets", "/etc/weir/keys", "folder of the keys, with "+export.HashesFile)
	cmd.PersistentFlags().String("out", "", "folder to write to")
	cmd.PersistentFlags().String("listen", "", "host:port of the broker for MQTT over TLS (default all addresses, 8883)")
	cmd.PersistentFlags().String("dir", "", "folder that the files will be in on the broker's host (default that broker's usual one)")
	cmd.AddCommand(
		exportTo("mosquitto", "Write the configuration of mosquitto (2.0.11 and later)", export.Mosquitto),
		exportTo("emqx", "Write the configuration of EMQX (5.7 and later)", export.EMQX),
		exportFront(),
		exportTo("nats", "Write the configuration of nats-server (2.9.10 and later)", export.NATS),
	)
	return cmd
}

func exportTo(name, short string, to func(*trust.File, map[string]export.Hashes, export.Options) (map[string][]byte, error)) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := texts(cmd)
			out := given("out")
			if out == "" {
				return errors.New("broker export: name a folder to write to with --out")
			}
			f, err := trust.Read(given("trust"))
			if err != nil {
				return err
			}
			hashes, err := export.ReadHashes(given("secrets"))
			if err != nil {
				return err
			}
			files, err := to(f, hashes, export.Options{Now: time.Now(), Listen: given("listen"), Dir: given("dir")})
			if err != nil {
				return err
			}
			return writeExport(cmd, out, files)
		},
	}
}

func exportFront() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "haproxy",
		Short: "Write the configuration of HAProxy (2.6 and later) before another broker: limits by source",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flag := texts(cmd)
			if flag("out") == "" {
				return errors.New("broker export: name a folder to write to with --out")
			}
			files, err := export.HAProxy(export.Front{Now: time.Now(), Listen: flag("listen"), Broker: flag("behind")})
			if err != nil {
				return err
			}
			return writeExport(cmd, flag("out"), files)
		},
	}
	cmd.Flags().String("behind", "127.0.0.1:8884", "host:port of the broker, for MQTT over TLS")
	return cmd
}

func writeExport(cmd *cobra.Command, out string, files map[string][]byte) error {
	if err := export.WriteFiles(out, files); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(out, file)); err != nil {
			return err
		}
	}
	return nil
}
