package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/policer"
)

// status is what `weir status` shows.
type status struct {
	Interface    string                  `json:"interface"`
	Tier         string                  `json:"tier"`
	Limiter      string                  `json:"limiter,omitempty"` // tc-police if that limits although a program counts
	Version      string                  `json:"version"`
	Since        time.Time               `json:"since"`
	Mode         string                  `json:"mode"`
	LeaseSeconds float64                 `json:"lease_seconds"`
	Rate         uint64                  `json:"rate"`
	Burst        uint64                  `json:"burst"`
	Budgets      []budgetStatus          `json:"budgets"`
	Challenge    challengeStatus         `json:"challenge"`
	Discards     uint64                  `json:"nic_discards"` // in the last second
	BeyondHost   bool                    `json:"beyond_host"`  // and a flood with them
	Classes      []classStatus           `json:"classes"`
	Reasons      map[string]reasonStatus `json:"reasons"`
	Top          []sourceStatus          `json:"top_sources"`
	Lists        listsStatus             `json:"lists"`
	Capacity     []classCapacity         `json:"capacity,omitempty"`
	Identities   []identityStatus        `json:"identities,omitempty"`
	control      datapath.Control
	budgets      datapath.Budgets
	sources      int
	police       policer.State
}

type classStatus struct {
	Class          string  `json:"class"`
	PerSecond      float64 `json:"pps"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	Passed         uint64  `json:"passed"`
	WouldDrop      uint64  `json:"would_drop"`
	Dropped        uint64  `json:"dropped"`
	Challenged     uint64  `json:"challenged"`
}

type reasonStatus struct {
	WouldDrop uint64 `json:"would_drop"`
	Dropped   uint64 `json:"dropped"`
}

type sourceStatus struct {
	Source    string  `json:"source"`
	PerSecond float64 `json:"syn_per_second"`
	Limited   bool    `json:"limited"`
}

const topShown = 10

func newStatus() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "status",
		Short: "Show what the datapath does now",
		Long: `Show what the datapath of an interface does now: mode, lease, limit, counts since it was loaded, rates and busiest
sources over one second. It reads the pinned maps, needs root and changes nothing.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			names, err := interfacesOf(cfg)
			if err != nil {
				return err
			}
			return each(names, names, func(name string) error { return showStatus(cmd, cfg, name) })
		},
	})
	cmd.Flags().Bool("json", false, "print one line of JSON for each interface")
	cmd.Flags().Bool("lists", false, "show each entry of the allow and block lists, and who is exempt")
	cmd.Flags().Bool("capacity", false, "measure what a packet of each class costs on this machine, by a copy of the program")
	return cmd
}

func showStatus(cmd *cobra.Command, cfg *config.Config, iface string) error {
	s, err := measure(cfg, iface, time.Second)
	if err != nil {
		return err
	}
	if capacity, _ := cmd.Flags().GetBool("capacity"); capacity {
		if s.Capacity, err = capacityOf(s); err != nil {
			return err
		}
	}
	if lists, _ := cmd.Flags().GetBool("lists"); !lists {
		s.Lists.Entries = nil
	}
	s.Identities = identitiesOf(cfg, time.Now())
	out := cmd.OutOrStdout()
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return json.NewEncoder(out).Encode(s)
	}
	return errors.Join(s.print(out), s.Lists.print(out), s.printCapacity(out), s.printIdentities(out))
}

// measure reads twice, a while apart.
func measure(cfg *config.Config, iface string, while time.Duration) (_ status, err error) {
	v, err := viewOf(cfg, iface)
	if err != nil {
		return status{}, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	info := datapath.Info{Interface: iface, Tier: v.tier(), Version: version}
	if v.reader != nil {
		if info, err = v.reader.Info(); err != nil {
			return status{}, err
		}
	}
	before, err := v.Counters()
	if err != nil {
		return status{}, err
	}
	card := hoststats.NewCard(iface)
	_, noCard := card.Discards()
	start := time.Now()
	if _, err := v.TopSources(start, topShown); err != nil {
		return status{}, err
	}
	time.Sleep(while)
	now := time.Now()
	discards, err := card.Discards()
	if err = errors.Join(noCard, err); err != nil {
		return status{}, err
	}
	after, err := v.Counters()
	if err != nil {
		return status{}, err
	}
	top, err := v.TopSources(now, topShown)
	if err != nil {
		return status{}, err
	}
	control, err := v.Control()
	if err != nil {
		return status{}, err
	}
	recent := after.Sub(&before)
	s := newStatusOf(info, control, after, recent, now.Sub(start), top)
	s.noteDiscards(discards, &recent, cfg.Sensor.EarlyReport)
	if s.police, err = policeOf(v); err != nil || v.reader == nil {
		return s, err
	}
	s.Limiter = control.Limiter
	r := v.reader
	budgets, err := r.Budgets()
	if err != nil {
		return status{}, err
	}
	s.Budgets, s.budgets = budgetStatuses(budgets), budgets
	entries, counts, err := r.Lists()
	if err != nil {
		return status{}, err
	}
	s.Lists = listsOf(entries, counts)
	s.Challenge, err = challengeStatusOf(r, info, control)
	return s, err
}

// noteDiscards calls what the card discards in a flood beyond the host, as the sensor does: flood is of SYNs in five seconds.
func (s *status) noteDiscards(discards uint64, recent *datapath.Counters, flood uint64) {
	var syns float64
	for _, c := range s.Classes {
		if c.Class == datapath.ClassSYN.String() {
			syns = 5 * c.PerSecond
		}
	}
	s.Discards = discards
	s.BeyondHost = discards > 0 && (flood > 0 && syns > float64(flood) || recent.OverLimit())
}

func policeOf(v view) (policer.State, error) {
	if v.police == nil {
		return policer.State{}, nil
	}
	return v.police.State()
}

func newStatusOf(info datapath.Info, control datapath.Control, total, recent datapath.Counters, over time.Duration,
	top []datapath.SourceRate) status {
	s := status{
		Interface: info.Interface, Tier: info.Tier, Version: info.Version, Since: info.Since.UTC(),
		Mode: mode(control), LeaseSeconds: control.Lease.Seconds(), Rate: control.Limit.Rate, Burst: control.Limit.Burst,
		Reasons: map[string]reasonStatus{}, Top: []sourceStatus{}, control: control, sources: info.Sources,
	}
	for class := range datapath.NumClasses {
		c := classStatus{Class: class.String()}
		for reason := range datapath.NumReasons {
			c.Passed += total[class][datapath.VerdictPass][reason].Packets
			c.WouldDrop += total[class][datapath.VerdictWouldDrop][reason].Packets
			c.Dropped += total[class][datapath.VerdictDrop][reason].Packets
			c.Challenged += total[class][datapath.VerdictTX][reason].Packets
		}
		offered := recent.Offered(class)
		c.PerSecond = float64(offered.Packets) / over.Seconds()
		c.BytesPerSecond = float64(offered.Bytes) / over.Seconds()
		s.Classes = append(s.Classes, c)
	}
	for reason := range datapath.NumReasons {
		r := reasonStatus{
			WouldDrop: total.Total(datapath.VerdictWouldDrop, reason).Packets,
			Dropped:   total.Total(datapath.VerdictDrop, reason).Packets,
		}
		if r != (reasonStatus{}) {
			s.Reasons[reason.String()] = r
		}
	}
	for _, t := range top {
		s.Top = append(s.Top, sourceStatus{t.Source.String(), t.SYNsPerSecond, t.Limited})
	}
	return s
}

func mode(c datapath.Control) string {
	if c.Enforcing() {
		return "enforce"
	}
	return "observe"
}

func (s status) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells string, args ...any) { fmt.Fprintf(t, cells+"\n", args...) }
	if s.Tier == tierPolice {
		row("interface\t%s, %s: SYNs are all that is counted", s.Interface, s.Tier)
	} else {
		row("interface\t%s, %s, counting since %s, loaded by weir %s", s.Interface, s.Tier,
			s.Since.Format("2006-01-02 15:04:05 MST"), s.Version)
	}
	row("mode\t%s", s.modeText())
	switch {
	case s.BeyondHost:
		row("beyond host\tthe network card discarded %d packets in the last second: stop the flood upstream", s.Discards)
	case s.Discards > 0:
		row("network card\tdiscarded %d packets in the last second", s.Discards)
	}
	if s.Tier == tierPolice && s.Rate == 0 {
		return s.printClasses(w, t)
	}
	row("limit\t%d SYNs per second and source, burst %d", s.Rate, s.Burst)
	if s.Tier == tierPolice {
		return s.printClasses(w, t)
	}
	for _, b := range s.Budgets {
		row("\t%v", b)
	}
	row("lists\t%v", s.Lists)
	if s.budgets.Connections > 0 {
		row("\t%d connections of each source", s.budgets.Connections)
	}
	row("challenge\t%v", s.Challenge)
	return s.printClasses(w, t)
}

// printClasses goes on with a table below what t has begun.
func (s status) printClasses(w io.Writer, t *tabwriter.Writer) error {
	row := func(cells string, args ...any) { fmt.Fprintf(t, cells+"\n", args...) }
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row("class\tpackets/s\tkbit/s\tpassed\twould drop\tdropped\tchallenged\t")
	for _, c := range s.Classes {
		row("%s\t%.0f\t%.0f\t%d\t%d\t%d\t%d\t", c.Class, c.PerSecond, c.BytesPerSecond*8/1000, c.Passed, c.WouldDrop, c.Dropped, c.Challenged)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if s.Tier == tierPolice { // tc knows no sources
		return nil
	}
	if len(s.Top) == 0 {
		_, err := fmt.Fprintln(w, "\nno source has sent a SYN in the last second")
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row("source\tSYN/s\t")
	for _, x := range s.Top {
		row("%s\t%.0f\t%s", x.Source, x.PerSecond, map[bool]string{true: "over its limit"}[x.Limited])
	}
	return t.Flush()
}

func (s status) modeText() string {
	switch c := s.control; {
	case c.Enforcing() && s.police.Limit != (datapath.Limit{}):
		return fmt.Sprintf("enforce: tc's police actions drop SYNs over the limits; the lease ends in %v", c.Lease.Round(time.Second))
	case c.Enforcing():
		return fmt.Sprintf("enforce: sources over their limit are dropped; the lease ends in %v", c.Lease.Round(time.Second))
	case c.Enforce:
		return "observe: the lease of enforce has ended, nothing is dropped"
	}
	return "observe: nothing is dropped, 'would drop' counts what enforce would have"
}
