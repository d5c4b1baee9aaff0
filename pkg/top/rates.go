package top

import (
	"cmp"
	"maps"
	"slices"

	"github.com/weir-sensor/weir/pkg/wire"
)

// verdictRates are packets per second. They aren't known of a sensor that doesn't tell.
type verdictRates struct {
	passed, wouldDrop, dropped, challenged float64
	known                                  bool
}

// verdicts are those of a class. What would have been dropped has passed, and isn't counted among passed.
func (f *face) verdicts(class string) verdictRates {
	v, said := f.network.Verdicts[class]
	offered, counted := f.network.Rates[class]
	return verdictRates{
		f.perSecond(v.Passed), f.perSecond(v.WouldDrop), f.perSecond(v.Dropped), f.perSecond(v.Challenged),
		said || counted && offered.PacketsPerSecond == 0,
	}
}

func (f *face) perSecond(n uint64) float64 {
	if f.network.IntervalSeconds <= 0 {
		return 0
	}
	return float64(n) / f.network.IntervalSeconds
}

func (f *face) total(byReason map[string]uint64) float64 {
	var sum float64
	for _, n := range byReason {
		sum += f.perSecond(n)
	}
	return sum
}

// reasonRate is packets per second for one reason.
type reasonRate struct {
	reason string
	rate   float64
}

// reasons are in descending order.
func (f *face) reasons(by map[string]uint64) []reasonRate {
	var all []reasonRate
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		all = append(all, reasonRate{reason, f.perSecond(by[reason])})
	}
	slices.SortStableFunc(all, func(a, b reasonRate) int { return cmp.Compare(b.rate, a.rate) })
	return all
}

// offered is the SYN rate.
func (f *face) offered() float64 { return f.network.Rates["syn"].PacketsPerSecond }

func (f *face) enforcing() bool { return f.network.Mode == wire.ModeEnforce }
