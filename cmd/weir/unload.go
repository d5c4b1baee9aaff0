package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
)

func newUnload() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "unload",
		Short: "Detach the datapath and remove its pins",
		Long: `Detach the datapath from its interface and remove program, maps and pins, and tc's filters and police actions, at once.
Nothing is counted or dropped any more. A sensor that still runs ends and says so. If the settings can't be read it unloads from every
interface.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, names, err := unloadSettings(cmd)
			all, _ := cmd.Flags().GetBool("all")
			all = all || len(names) == 0
			if err != nil {
				where := map[bool]string{true: "every interface", false: cfg.Interface}[all]
				text := strings.ReplaceAll(err.Error(), "\n", "; ")
				if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "weir: unloading from %s without settings: %s\n", where, text); err != nil {
					return err
				}
			}
			if all {
				found, err := datapath.UnloadAll(cfg.BPFFS)
				ifaces, netErr := net.Interfaces()
				errs := []error{err, netErr} // what can't be unloaded keeps nothing else
				for _, i := range ifaces {   // tc's of this network namespace alone
					also, err := unpolice(i.Name)
					found, errs = found || also, append(errs, err)
				}
				return reportUnload(cmd, found, errors.Join(errs...), "every interface")
			}
			return each(names, names, func(name string) error {
				found, err := datapath.Unload(cfg.BPFFS, name)
				also, tcErr := unpolice(name)
				found, err = found || also, errors.Join(err, tcErr)
				return reportUnload(cmd, found, err, name)
			})
		},
	})
	cmd.Flags().Bool("all", false, "from every interface of every network namespace")
	return cmd
}

// unloadSettings are as many of the settings as can be had, and the interfaces that they name, none for every one: whoever wants weir gone
// must not have to mend its settings first. With an error, which tells what is wrong with them, there are those of the flags, or the defaults.
func unloadSettings(cmd *cobra.Command) (cfg *config.Config, names []string, err error) {
	if cfg, err = load(cmd); err == nil {
		names, err = interfacesOf(cfg)
		return cfg, names, err
	}
	cfg, flagsErr := config.Load(cmd.Flags(), "", []string{config.FileEnv + "="})
	if flagsErr != nil {
		return config.Default(), nil, err
	}
	if cfg.Interface != "" {
		names, flagsErr = interfacesOf(cfg)
	}
	return cfg, names, errors.Join(err, flagsErr)
}

// unpolice removes tc's police actions and filters, which no settings are needed for.
func unpolice(iface string) (found bool, err error) {
	p, err := newPolicer(config.Default(), iface, slog.New(slog.DiscardHandler))
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
