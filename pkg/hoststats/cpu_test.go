package hoststats

import (
	"math"
	"testing"

	"github.com/shirou/gopsutil/v3/cpu"
)

func TestUsage(t *testing.T) {
	var u usage
	for _, step := range []struct {
		name  string
		times cpu.TimesStat
		want  float64
	}{
		{"the first call begins", cpu.TimesStat{User: 100, Idle: 900}, 0},
		{"half", cpu.TimesStat{User: 105, Idle: 905}, 50},
		{"within a tick", cpu.TimesStat{User: 105, Idle: 905}, 50},
		{"all, in interrupts", cpu.TimesStat{User: 105, Softirq: 8, Irq: 2, Idle: 905}, 100},
		{"waiting for a disk is idle", cpu.TimesStat{User: 106, Softirq: 8, Irq: 2, Idle: 905, Iowait: 3}, 25},
		{"stolen is busy", cpu.TimesStat{User: 106, Softirq: 8, Irq: 2, Idle: 906, Iowait: 3, Steal: 3}, 75},
		{"guests are users", cpu.TimesStat{User: 107, Guest: 1, Softirq: 8, Irq: 2, Idle: 907, Iowait: 3, Steal: 3}, 50},
		{"iowait goes back", cpu.TimesStat{User: 109, Guest: 1, Softirq: 8, Irq: 2, Idle: 907, Iowait: 2, Steal: 3}, 100},
		{"all goes back, as when a CPU leaves", cpu.TimesStat{User: 50, Idle: 450}, 100},
		{"and on", cpu.TimesStat{User: 51, Idle: 459}, 10},
	} {
		if got := u.since(step.times); math.Abs(got-step.want) > 1e-6 {
			t.Errorf("%s: %v %%, want %v", step.name, got, step.want)
		}
	}
}
