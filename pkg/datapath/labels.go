package datapath

var (
	classNames   = [NumClasses]string{"syn", "syn_ack", "tcp", "rst", "udp", "icmp", "fragment", "other"}
	verdictNames = [NumVerdicts]string{"pass", "would_drop", "drop", "tx"}
	reasonNames  = [NumReasons]string{"none", "malformed", "source_rate", "untracked", "cookie", "unverified", "prefix_rate",
		"total_rate", "connections", "blocked", "allowed", "ceiling", "management", "reply"}
)

func (c Class) String() string   { return classNames[c] }
func (v Verdict) String() string { return verdictNames[v] }
func (r Reason) String() string  { return reasonNames[r] }

// Offered sums what arrived of a class, whatever became of it.
func (c *Counters) Offered(class Class) Count {
	var sum Count
	for v := range c[class] {
		for _, n := range c[class][v] {
			sum.add(n)
		}
	}
	return sum
}

// Judged sums what met with a verdict in a class.
func (c *Counters) Judged(class Class, v Verdict) Count {
	var sum Count
	for _, n := range c[class][v] {
		sum.add(n)
	}
	return sum
}

// Total sums a verdict and reason over the classes.
func (c *Counters) Total(v Verdict, r Reason) Count {
	var sum Count
	for class := range c {
		sum.add(c[class][v][r])
	}
	return sum
}

// OverLimit tells whether anything was over a limit, or challenged.
func (c *Counters) OverLimit() bool {
	for class := range c {
		for _, v := range []Verdict{VerdictWouldDrop, VerdictDrop, VerdictTX} {
			if c.Judged(Class(class), v).Packets > 0 {
				return true
			}
		}
	}
	return false
}

// Add adds what another counted.
func (c *Counters) Add(other *Counters) {
	for class := range c {
		for v := range c[class] {
			for r := range c[class][v] {
				c[class][v][r].add(other[class][v][r])
			}
		}
	}
}

// Sub returns what was counted since prev.
func (c *Counters) Sub(prev *Counters) Counters {
	out := *c
	for class := range out {
		for v := range out[class] {
			for r := range out[class][v] {
				out[class][v][r].Packets -= prev[class][v][r].Packets
				out[class][v][r].Bytes -= prev[class][v][r].Bytes
			}
		}
	}
	return out
}

func (n *Count) add(m Count) {
	n.Packets += m.Packets
	n.Bytes += m.Bytes
}
