package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/logins"
)

func listSettings(cfg *config.Config) (datapath.ListSettings, error) {
	block, allow, err := cfg.Lists.Read()
	if err != nil {
		return datapath.ListSettings{}, err
	}
	s := datapath.ListSettings{Block: block, Allow: allow, Ceiling: cfg.Lists.Ceiling}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("lists: %w", err)
	}
	return s, nil
}

func controllersLists(keeper keepers) controller.Lists {
	return controller.Lists{Lister: keeper, Logins: logins.New("/proc").Addresses, Own: ownAddresses}
}

// ownAddresses are those of the process's network namespace.
func ownAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var own []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().WithZone(""))
		}
	}
	return own, nil
}

// reloadLists reads the configuration's lists again on SIGHUP, until ctx ends. Lists that are wrong change nothing.
func reloadLists(ctx context.Context, cmd *cobra.Command, keeper keepers, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		cfg, err := load(cmd)
		if err != nil {
			log.Error("the lists stay as they are", "err", err)
			continue
		}
		s, err := listSettings(cfg)
		if err == nil {
			err = keeper.Configure(s)
		}
		if err != nil {
			log.Error("the lists stay as they are", "err", err)
			continue
		}
		log.Info("lists read again", "block", len(s.Block), "allow", len(s.Allow))
	}
}

// listsStatus is how many entries act.
type listsStatus struct {
	Block       int           `json:"block"`
	Allow       int           `json:"allow"`
	Exempt      int           `json:"exempt"`
	Ceiling     uint64        `json:"allow_ceiling"`
	HeldSeconds float64       `json:"held_seconds"` // left for the entries of the configuration
	Entries     []entryStatus `json:"entries,omitempty"`
}

type entryStatus struct {
	Source      string  `json:"source"`
	List        string  `json:"list"`
	SecondsLeft float64 `json:"seconds_left,omitempty"` // none for entries of the configuration
	Since       string  `json:"since,omitempty"`
	Origin      string  `json:"origin,omitempty"`
	Reason      string  `json:"reason,omitempty"`
}

func listsOf(entries []datapath.ListEntry, c datapath.ListCounts) listsStatus {
	s := listsStatus{Block: c.Block, Allow: c.Allow, Exempt: c.Exempt, Ceiling: c.Ceiling, HeldSeconds: c.Held.Seconds()}
	for _, e := range entries {
		x := entryStatus{Source: e.Prefix.String(), List: e.Kind.String(), SecondsLeft: e.TTL.Seconds(), Origin: e.Origin, Reason: e.Reason}
		if !e.Since.IsZero() {
			x.Since = e.Since.UTC().Format(time.RFC3339)
		}
		s.Entries = append(s.Entries, x)
	}
	return s
}

func (l listsStatus) String() string {
	if l.Block+l.Allow+l.Exempt == 0 {
		return "empty"
	}
	return fmt.Sprintf("%d blocked, %d allowed (up to %d packets per second each), %d exempt", l.Block, l.Allow, l.Ceiling, l.Exempt)
}

func (l listsStatus) print(w io.Writer) error {
	if len(l.Entries) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "source\tlist\tends in\torigin\treason")
	for _, e := range l.Entries {
		end := "-"
		if e.SecondsLeft > 0 {
			end = time.Duration(e.SecondsLeft * float64(time.Second)).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", e.Source, e.List, end, e.Origin, e.Reason)
	}
	return t.Flush()
}
