package web

import "github.com/weir-sensor/weir/pkg/wire"

// series are what the charts draw, in columns: small, and as uPlot takes them. Times are Unix milliseconds. Where a second or a class
// wasn't told, there is a null.
type series struct {
	CPU     column         `json:"cpu"`
	RAM     column         `json:"ram"`
	Network networkColumns `json:"network"`
	Seconds secondsColumns `json:"seconds"`
	Marks   []mark         `json:"marks"`
}

type column struct {
	T []int64   `json:"t"`
	V []float64 `json:"v"`
}

type networkColumns struct {
	T           []int64                  `json:"t"`
	Connections []int                    `json:"connections"`
	SYNs        []uint64                 `json:"syns"`
	Classes     map[string]*classColumns `json:"classes"`
}

type classColumns struct {
	Offered    []*float64 `json:"offered"` // packets per second
	Dropped    []*float64 `json:"dropped"`
	Challenged []*float64 `json:"challenged"`
	Passed     []*float64 `json:"passed"`
}

type secondsColumns struct {
	T          []int64   `json:"t"`
	Offered    []float64 `json:"offered"`
	Dropped    []float64 `json:"dropped"`
	Challenged []float64 `json:"challenged"`
}

// mark is where something happened.
type mark struct {
	At   int64  `json:"at"`
	Kind string `json:"kind"` // alert, command or status
	Text string `json:"text"`
}

// maxClasses bounds the names that come from outside.
const maxClasses = 16

func newSeries() *series {
	return &series{Network: networkColumns{Classes: map[string]*classColumns{}}, Marks: []mark{}}
}

// add appends an event, which is not older than those before it.
func (s *series) add(e *event) {
	switch {
	case e.CPU != nil:
		s.CPU.add(e.At, e.CPU.Usage)
	case e.RAM != nil:
		s.RAM.add(e.At, e.RAM.Usage)
	case e.Network != nil:
		s.Network.add(e.At, e.Network)
		s.Seconds.add(e.Network.Seconds)
	case e.Alert != nil && e.Alert.State != wire.AlertReminder:
		s.Marks = append(s.Marks, mark{e.At, "alert", wire.Describe([]byte(e.Alert.Alert + " (" + e.Alert.State + ")"))})
	case e.Command != nil:
		s.Marks = append(s.Marks, mark{e.At, "command", wire.Describe([]byte(e.Command.Command))})
	}
}

func (c *column) add(at int64, v float64) {
	c.T, c.V = append(c.T, at), append(c.V, v)
}

func (c *networkColumns) add(at int64, n *wire.Network) {
	for class := range n.Rates {
		if c.Classes[class] == nil && len(c.Classes) < maxClasses {
			c.Classes[class] = &classColumns{}
			for range c.T {
				c.Classes[class].add(nil)
			}
		}
	}
	c.T = append(c.T, at)
	c.Connections = append(c.Connections, n.ActiveTCPConnections)
	c.SYNs = append(c.SYNs, n.SYNPacketCount)
	for class, columns := range c.Classes {
		columns.add(rateOf(n, class))
	}
}

// classRates are packets per second.
type classRates struct {
	offered, dropped, challenged, passed float64
	judged                               bool // what became of them is known
}

const leastInterval = 0.01 // seconds; a shorter one isn't true, and would make numbers beyond measure

// rateOf is nil for a class that isn't told.
func rateOf(n *wire.Network, class string) *classRates {
	r, there := n.Rates[class]
	if !there {
		return nil
	}
	v, judged := n.Verdicts[class]
	judged = judged && n.IntervalSeconds >= leastInterval
	x := classRates{offered: r.PacketsPerSecond, judged: judged || r.PacketsPerSecond == 0}
	if judged {
		x.dropped, x.challenged = float64(v.Dropped)/n.IntervalSeconds, float64(v.Challenged)/n.IntervalSeconds
		x.passed = (float64(v.Passed) + float64(v.WouldDrop)) / n.IntervalSeconds
	}
	return &x
}

func (c *classColumns) add(r *classRates) {
	var offered, dropped, challenged, passed *float64
	if r != nil {
		offered = &r.offered
	}
	if r != nil && r.judged {
		dropped, challenged, passed = &r.dropped, &r.challenged, &r.passed
	}
	c.Offered, c.Dropped = append(c.Offered, offered), append(c.Dropped, dropped)
	c.Challenged, c.Passed = append(c.Challenged, challenged), append(c.Passed, passed)
}

// add leaves out what an earlier report has told already.
func (c *secondsColumns) add(all []wire.Second) {
	for _, s := range all {
		at := int64(s.Timestamp * 1000)
		if len(c.T) > 0 && at <= c.T[len(c.T)-1] {
			continue
		}
		c.T, c.Offered = append(c.T, at), append(c.Offered, s.Offered)
		c.Dropped, c.Challenged = append(c.Dropped, s.Dropped), append(c.Challenged, s.Challenged)
	}
}
