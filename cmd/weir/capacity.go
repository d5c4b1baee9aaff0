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
	Nanoseconds float64 `json:"ns_per_packet"`
	PerCore     float64 `json:"pps_per_core"`
	Dropped     bool    `json:"dropped"`
}

// capacityOf measures in the mode and with the limit that are in force.
func capacityOf(s status) ([]classCapacity, error) {
	costs, err := datapath.Capacity(s.control.Limit, s.budgets, s.sources, s.control.Enforcing())
	if err != nil {
		return nil, err
	}
	out := make([]classCapacity, len(costs))
	for i, c := range costs {
		out[i] = classCapacity{c.Class.String(), float64(c.Packet.Nanoseconds()), c.PerCore(), c.Drop}
	}
	return out, nil
}

func (s status) printCapacity(w io.Writer) error {
	if s.Capacity == nil {
		return nil
	}
	_, err := fmt.Fprintln(w, "\nwhat the datapath can judge, an upper bound: driver and kernel add their own cost to each packet")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "class\tns/packet\tpackets/s and core\tverdict\t")
	for _, c := range s.Capacity {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%s\t\n", c.Class, c.Nanoseconds, c.PerCore, map[bool]string{true: "drop", false: "pass"}[c.Dropped])
	}
	return errors.Join(err, t.Flush())
}
