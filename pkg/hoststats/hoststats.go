// Package hoststats reads how the protected server fares: CPU, memory, TCP, what its network card discards, and which
// interface is its way out. It alone imports gopsutil, procfs and ethtool. What is of the network is that of the calling process's network namespace.
package hoststats

import (
	"errors"
	"fmt"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
)

// Host is the machine that this process runs on. Its methods may be called from one goroutine at a time.
type Host struct {
	cpu usage
}

// New returns the host; nothing is read yet.
func New() *Host { return &Host{} }

// CPU returns how busy all cores together were since the last call, in percent. The first call only begins, and returns 0.
func (h *Host) CPU() (float64, error) {
	times, err := cpu.Times(false)
	if err != nil {
		return 0, fmt.Errorf("read the CPU's times: %w", err)
	}
	if len(times) != 1 {
		return 0, fmt.Errorf("read the CPU's times: %d lines for all cores, want 1", len(times))
	}
	return h.cpu.since(times[0]), nil
}

// RAM returns the memory in use, in percent: all that isn't free and can't be freed at once, as caches can.
func (h *Host) RAM() (float64, error) {
	m, err := mem.VirtualMemory()
	if err != nil {
		return 0, fmt.Errorf("read the memory's use: %w", err)
	}
	if m.Total == 0 {
		return 0, errors.New("read the memory's use: /proc/meminfo has no MemTotal")
	}
	return percent(float64(m.Total)-float64(m.Available), float64(m.Total)), nil
}
