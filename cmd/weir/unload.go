package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/datapath"
)

func newUnload() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "unload",
		Short: "Detach the datapath and remove its pins",
		Long: `Detach the datapath from its interface and remove program, maps and pins, at once. Nothing is counted or dropped
any more. A sensor that still runs ends and says so.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			if all, _ := cmd.Flags().GetBool("all"); all {
				found, err := datapath.UnloadAll(cfg.BPFFS)
				return reportUnload(cmd, found, err, "every interface")
			}
			names, err := interfacesOf(cfg)
			if err != nil {
				return err
			}
			return each(names, names, func(name string) error {
				found, err := datapath.Unload(cfg.BPFFS, name)
				return reportUnload(cmd, found, err, name)
			})
		},
	})
	cmd.Flags().Bool("all", false, "from every interface of every network namespace")
	return cmd
}

func reportUnload(cmd *cobra.Command, found bool, err error, where string) error {
	if err != nil {
		return err
	}
	text := "unloaded from " + where
	if !found {
		text = "there was nothing to unload"
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}
