package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
)

func newUnload() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "unload",
		Short: "Detach the datapath and remove its pins",
		Long: `Detach the datapath from its interface and remove program, maps and pins, and tc's filters and police actions, at once.
Nothing is counted or dropped any more. A sensor that still runs ends and says so.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			if all, _ := cmd.Flags().GetBool("all"); all {
				found, err := datapath.UnloadAll(cfg.BPFFS)
				ifaces, netErr := net.Interfaces()
				errs := []error{err, netErr} // what can't be unloaded keeps nothing else
				for _, i := range ifaces {   // tc's of this network namespace alone
					also, err := unpolice(cfg, i.Name)
					found, errs = found || also, append(errs, err)
				}
				return reportUnload(cmd, found, errors.Join(errs...), "every interface")
			}
			names, err := interfacesOf(cfg)
			if err != nil {
				return err
			}
			return each(names, names, func(name string) error {
				found, err := datapath.Unload(cfg.BPFFS, name)
				also, tcErr := unpolice(cfg, name)
				found, err = found || also, errors.Join(err, tcErr)
				return reportUnload(cmd, found, err, name)
			})
		},
	})
	cmd.Flags().Bool("all", false, "from every interface of every network namespace")
	return cmd
}

// unpolice removes tc's police actions and filters.
func unpolice(cfg *config.Config, iface string) (found bool, err error) {
	p, err := newPolicer(cfg, iface, slog.New(slog.DiscardHandler))
	if err != nil {
		return false, err
	}
	if s, err := p.State(); err != nil || !s.Known {
		return false, err
	}
	return p.Remove()
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
