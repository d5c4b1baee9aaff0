package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
)

func TestBudgetsOfTheConfiguration(t *testing.T) {
	cfg := config.Default()
	got, err := budgetsOf(cfg)
	if err != nil || got.Classes != (datapath.Budgets{}).Classes || !slices.Equal(got.ManagementPorts, datapath.DefaultManagementPorts) {
		t.Errorf("by default %+v, %v", got, err)
	}
	for i, name := range config.BudgetClasses {
		if class := budgetClasses[i].String(); class != name {
			t.Errorf("%s is the datapath's %s", name, class)
		}
		cfg.Budgets[i] = config.Budget{PrefixRate: 10, TotalRate: 100, TotalBurst: 7}
	}
	cfg.Budgets[3].Rate = 5
	if got, err = budgetsOf(cfg); err != nil {
		t.Fatal(err)
	}
	want := datapath.Budget{
		Source: datapath.Limit{Rate: 5, Burst: 10}, Prefix: datapath.Limit{Rate: 10, Burst: 20}, Total: datapath.Limit{Rate: 100, Burst: 7},
	}
	if got.Classes[datapath.ClassUDP] != want {
		t.Errorf("%+v, want %+v", got.Classes[datapath.ClassUDP], want)
	}
	said := ""
	for _, s := range budgetStatuses(got) {
		said += s.String() + "\n"
	}
	if n := strings.Count(said, "\n"); n != 13 || !strings.Contains(said, "5 udp packets per second of each source, burst 10\n") {
		t.Errorf("%d budgets:\n%s", n, said)
	}
	cfg.Budgets[3].Burst = 1
	cfg.Budgets[3].Rate = 100_000
	if _, err := budgetsOf(cfg); err == nil || !strings.Contains(err.Error(), "udp packets of each source") {
		t.Errorf("a burst of less than 10 ms: %v", err)
	}
}
