package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Budget is what the packets of a class may amount to: packets per second and at once, of each source, of each /24 or /48,
// and of all. A rate of 0 is no budget, a burst of 0 twice the rate.
type Budget struct {
	Rate, Burst             uint64
	PrefixRate, PrefixBurst uint64
	TotalRate, TotalBurst   uint64
}

// BudgetClasses are the classes that may have budgets, by their places in Config.Budgets. What a source may send of SYNs is
// Limit's.
var BudgetClasses = [...]string{"syn", "tcp", "rst", "udp", "icmp", "fragment"}

var budgetHelp = [len(BudgetClasses)]string{"SYNs", "TCP packets that belong to no socket, but SYNs and RSTs,",
	"RSTs that belong to no socket", "UDP packets", "ICMP packets", "fragments without a transport header"}

// budgetSettings are those of every class, in a row.
func budgetSettings() []Setting {
	var all []Setting
	for class, name := range BudgetClasses {
		for _, of := range []struct {
			key, whose string
			rate       func(*Budget) *uint64
			burst      func(*Budget) *uint64
		}{
			{"", "of each source", func(b *Budget) *uint64 { return &b.Rate }, func(b *Budget) *uint64 { return &b.Burst }},
			{"prefix-", "of each /24 or /48", func(b *Budget) *uint64 { return &b.PrefixRate },
				func(b *Budget) *uint64 { return &b.PrefixBurst }},
			{"total-", "of all sources", func(b *Budget) *uint64 { return &b.TotalRate },
				func(b *Budget) *uint64 { return &b.TotalBurst }},
		} {
			if name == "syn" && of.key == "" {
				continue
			}
			key := "budgets." + name + "." + of.key
			all = append(all,
				Setting{Key: key + "rate", Commands: limiting, field: func(c *Config) any { return of.rate(&c.Budgets[class]) },
					Help: budgetHelp[class] + " " + of.whose + " that pass in a second while limiting is on; 0 for all"},
				Setting{Key: key + "burst", Commands: limiting, field: func(c *Config) any { return of.burst(&c.Budgets[class]) },
					Help: budgetHelp[class] + " " + of.whose + " that pass at once; 0 for twice the rate"})
		}
	}
	return all
}

// withBudgets puts them behind the limit's.
func withBudgets(all []Setting) []Setting {
	at := slices.IndexFunc(all, func(s Setting) bool { return strings.HasPrefix(s.Key, "monitor.") })
	return slices.Insert(all, at, budgetSettings()...)
}

// Ports reads a list such as "22, 2222".
func Ports(text string) ([]uint16, error) {
	var ports []uint16
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		port, err := strconv.ParseUint(field, 10, 16)
		if err != nil || port == 0 {
			return nil, errors.New(`give ports from 1 to 65535, like "22, 2222"`)
		}
		ports = append(ports, uint16(port))
	}
	if len(ports) > maxPorts {
		return nil, errors.New("give " + strconv.Itoa(maxPorts) + " ports at most")
	}
	return ports, nil
}

const maxPorts = 8

func checkPorts(text string) error {
	_, err := Ports(text)
	return err
}
