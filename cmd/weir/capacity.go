package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// classCapacity is what the datapath can judge of a class, if a core did nothing else.
type classCapacity struct {
	Class       string  `json:"class"`
	Challenged  bool    `json:"challenged"` // from sources that are looked at for cookies
	Nanoseconds float64 `json:"ns_per_packet"`
	PerCore     float64 `json:"pps_per_core"`
	Dropped     bool    `json:"dropped"`
}

// capacityOf measures in the mode and with the limit that are in force.
func capacityOf(s status) ([]classCapacity, error) {
	costs, err := datapath.Capacity(datapath.Load{
		Limit: s.control.Limit, Budgets: s.budgets, Sources: s.sources, Enforce: s.control.Enforcing(), TC: s.Tier == datapath.TierTC,
		Challenge: s.Challenge.Available && s.control.Challenge != datapath.ChallengeNever, KernelCookies: s.Challenge.KernelCookies,
	})
	if err != nil {
		return nil, err
	}
	out := make([]classCapacity, len(costs))
	for i, c := range costs {
		out[i] = classCapacity{c.Class.String(), c.Challenged, float64(c.Packet.Nanoseconds()), c.PerCore(), c.Verdict == datapath.VerdictDrop}
	}
	return out, nil
}

func (c classCapacity) words() (class, verdict string) {
	switch {
	case c.Challenged && c.Dropped:
		return c.Class + ", no cookie", "drop"
	case c.Challenged:
		return c.Class + ", challenged", "answer"
	case c.Dropped:
		return c.Class, "drop"
	}
	return c.Class, "pass"
}

func (s status) printCapacity(w io.Writer) error {
	if s.Capacity == nil {
		return nil
	}
	_, err := fmt.Fprintln(w, "\nwhat the datapath can judge, an upper bound: driver and kernel add their own cost to each packet")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "class\tns/packet\tpackets/s and core\tverdict\t")
	for _, c := range s.Capacity {
		class, verdict := c.words()
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%s\t\n", class, c.Nanoseconds, c.PerCore, verdict)
	}
	return errors.Join(err, t.Flush())
}
