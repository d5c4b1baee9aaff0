package hoststats

import "github.com/shirou/gopsutil/v3/cpu"

// usage turns the growing times of the CPU into a percentage. gopsutil's own keeps what it saw last for the whole
// process, where two callers would take it from each other.
type usage struct {
	total, idle float64 // seconds since boot
	primed      bool
	last        float64 // percent
}

// since returns the percentage since its last call. Times grow in hundredths of a second; within one it stays the same.
func (u *usage) since(t cpu.TimesStat) float64 {
	// Guests' time is in User and Nice already. Stolen time counts as busy: the machine didn't have it.
	idle := t.Idle + t.Iowait
	total := idle + t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal
	spent, rested := total-u.total, idle-u.idle
	switch {
	case !u.primed:
		u.primed = true
	case spent > 0:
		u.last = percent(spent-rested, spent)
	case spent == 0:
		return u.last
	}
	u.total, u.idle = total, idle
	return u.last
}

// percent keeps within bounds: the kernel lets iowait and steal go back a little.
func percent(part, whole float64) float64 {
	return min(max(100*part/whole, 0), 100)
}
