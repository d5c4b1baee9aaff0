package main

import (
	"fmt"
	"math"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
)

// budgetClasses are the datapath's names of config.BudgetClasses.
var budgetClasses = [len(config.BudgetClasses)]datapath.Class{
	datapath.ClassSYN, datapath.ClassTCP, datapath.ClassRST, datapath.ClassUDP, datapath.ClassICMP, datapath.ClassFragment,
}

// budgetsOf takes the budgets from the configuration. Errors name the setting.
func budgetsOf(cfg *config.Config) (datapath.Budgets, error) {
	var b datapath.Budgets
	var err error
	if b.ManagementPorts, err = config.Ports(cfg.ManagementPorts); err != nil {
		return b, fmt.Errorf("management-ports: %w", err)
	}
	if cfg.Limit.Connections > math.MaxUint32 {
		return b, fmt.Errorf("limit.connections %d: give %d at most", cfg.Limit.Connections, uint32(math.MaxUint32))
	}
	b.Connections = uint32(cfg.Limit.Connections)
	for i, x := range cfg.Budgets {
		b.Classes[budgetClasses[i]] = datapath.Budget{
			Source: limitOf(x.Rate, x.Burst), Prefix: limitOf(x.PrefixRate, x.PrefixBurst), Total: limitOf(x.TotalRate, x.TotalBurst),
		}
	}
	return b, b.Validate()
}

// limitOf fills in a burst that nobody gave.
func limitOf(rate, burst uint64) datapath.Limit {
	if rate == 0 {
		return datapath.Limit{}
	}
	if burst == 0 {
		burst = 2 * rate
	}
	return datapath.Limit{Rate: rate, Burst: burst}
}

// budgetStatus is one budget in force.
type budgetStatus struct {
	Class string `json:"class"`
	Of    string `json:"of"` // source, prefix or total
	Rate  uint64 `json:"rate"`
	Burst uint64 `json:"burst"`
}

func budgetStatuses(b datapath.Budgets) []budgetStatus {
	out := []budgetStatus{}
	for class, x := range b.Classes {
		for _, l := range []struct {
			of string
			datapath.Limit
		}{{"source", x.Source}, {"prefix", x.Prefix}, {"total", x.Total}} {
			if l.Rate > 0 {
				out = append(out, budgetStatus{datapath.Class(class).String(), l.of, l.Rate, l.Burst})
			}
		}
	}
	return out
}

func (b budgetStatus) String() string {
	of := map[string]string{"source": "of each source", "prefix": "of each /24 or /48", "total": "of all sources"}[b.Of]
	return fmt.Sprintf("%d %s packets per second %s, burst %d", b.Rate, b.Class, of, b.Burst)
}
