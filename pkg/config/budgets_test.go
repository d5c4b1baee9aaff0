package config

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

func TestBudgetsHaveNamesOfTheirOwn(t *testing.T) {
	fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
	Register(fs, "up")
	err := fs.Parse([]string{"--budgets-udp-rate=1", "--budgets-udp-total-burst=2", "--budgets-fragment-prefix-rate=3"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(fs, "", []string{"WEIR_BUDGETS_SYN_TOTAL_RATE=4"})
	if err != nil {
		t.Fatal(err)
	}
	want := [len(BudgetClasses)]Budget{0: {TotalRate: 4}, 3: {Rate: 1, TotalBurst: 2}, 5: {PrefixRate: 3}}
	if c.Budgets != want {
		t.Errorf("%+v, want %+v", c.Budgets, want)
	}
}

func TestPorts(t *testing.T) {
	for text, want := range map[string][]uint16{
		"": nil, "22": {22}, "22,2222": {22, 2222}, " 1, 65535 ,": {1, 65535}, "1 2 3 4 5 6 7 8": {1, 2, 3, 4, 5, 6, 7, 8},
	} {
		if got, err := Ports(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "65536", "ssh", "-1", "22-23", "1 2 3 4 5 6 7 8 9"} {
		if got, err := Ports(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
