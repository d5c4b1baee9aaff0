// Package top shows in a terminal what weir sees and does on one server, and takes commands by keys. It alone imports
// bubbletea and lipgloss. What is shown follows from events and the time alone: sources of events and the sending of commands
// are the caller's.
package top

import (
	"context"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Source delivers what it sees, from any goroutine, until ctx ends. An error means that there is nothing more to see.
type Source interface {
	Run(ctx context.Context, tell func(Event)) error
}

// Commander sends a command and waits for the controller's status. An error says in one line why there is none.
type Commander interface {
	Send(context.Context, wire.Command) (wire.Status, error)
}

// Config says what is shown.
type Config struct {
	Root         wire.Root
	Broker       string        // where commands go, and where metrics come from if Remote
	Remote       bool          // else they come from this host's datapath, and the broker has only alerts and statuses
	Interfaces   []string      // of this host; none if Remote
	Interval     time.Duration // between regular metrics
	SYNThreshold float64       // SYNs in 5 s over which it is called an attack
	Look         Look
}

// from is "broker" or "local".
func (c Config) from() string {
	if c.Remote {
		return "broker"
	}
	return "local"
}

// silentAfter is when a sensor that sends nothing is silent: one message may be lost on the way, and the next late.
func (c Config) silentAfter() time.Duration { return 2*c.Interval + 2*time.Second }
