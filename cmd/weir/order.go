package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// send sends a command and reports its status. A timeout that was asked for isn't prolonged for servers that take longer.
func send(cmd *cobra.Command, c wire.Command, timeout time.Duration, asked bool) error {
	s, err := newSetup(cmd)
	if err != nil {
		return err
	}
	waits := func(detail string) { fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", c.Command, shown(detail)) }
	status, err := s.order(cmd.Context(), c, waiting{timeout, !asked}, waits)
	if err != nil {
		return err
	}
	return report(cmd.OutOrStdout(), status)
}

// waiting is how long to wait for a status.
type waiting struct {
	timeout time.Duration
	longer  bool // as long as the controller says that scaling takes
}

// order publishes a command over a connection of its own, and waits for the status with its ID. What it waits for beyond the timeout, a
// second person or servers, is told to waits; without waits, a status that a second person is needed is the answer.
func (s setup) order(ctx context.Context, c wire.Command, w waiting, waits func(string)) (wire.Status, error) {
	c.ID = rand.Text()
	c.Timestamp = wire.Timestamp(time.Now())
	payload, err := wire.Encode(c)
	if err != nil {
		return wire.Status{}, err
	}
	if _, err := wire.DecodeCommand(payload); err != nil {
		return wire.Status{}, err // what the controller would say
	}

	id, err := s.identity("ctl")
	if err != nil {
		return wire.Status{}, err
	}
	if id != nil { // a broker ends the connection of who may not, without a word
		if err := mayPublish(id.now.Load().Identity, s.root.Command()); err != nil {
			return wire.Status{}, fmt.Errorf("%w: use an operator's identity", err)
		}
	}
	o, err := s.busOptions("ctl")
	if err != nil {
		return wire.Status{}, err
	}
	o.ClientID = "weir-ctl-" + c.ID
	client, err := bus.Connect(o)
	if err != nil {
		return wire.Status{}, err
	}
	defer client.Close()
	whole := ctx
	ctx, cancel := context.WithTimeout(whole, w.timeout)
	defer cancel()
	if err := client.AwaitConnection(ctx); err != nil {
		return wire.Status{}, err
	}
	answers, told := make(chan wire.Status, 2), make(chan time.Duration, 1)
	err = client.Subscribe(s.root.Status(), func(m bus.Message) {
		status, err := wire.DecodeStatus(m.Payload)
		if err != nil || m.Refused != nil {
			return
		}
		if n := status.Servers; n != nil && n.TakesSeconds > 0 {
			select {
			case told <- upToHours(n.TakesSeconds):
			default:
			}
		}
		if status.ID == c.ID {
			select {
			case answers <- status:
			default:
			}
		}
	})
	if err != nil {
		return wire.Status{}, err
	}
	if err := client.Publish(ctx, bus.Publication{Topic: s.root.Command(), Payload: payload, Delivery: bus.Confirmed}); err != nil {
		return wire.Status{}, err
	}
	var takes <-chan time.Duration
	if w.longer && waits != nil && wire.IsScaleCommand(c.Command) {
		takes = told
	}
	noAnswer := time.After(w.timeout)
	var soon <-chan time.Time // what is refused is answered at once
	for {
		select {
		case status := <-answers:
			if status.ApprovalUntil == 0 || waits == nil {
				return status, nil
			}
			soon = nil
			waits(status.Detail)
			noAnswer = time.After(untilApproved(status, time.Now()) + w.timeout)
		case w.timeout = <-takes: // for the second person's command, too
			takes = nil
			noAnswer, soon = time.After(w.timeout), time.After(time.Second)
		case <-soon:
			waits(fmt.Sprintf("waiting for the servers, %v at most", w.timeout))
		case <-whole.Done():
			return wire.Status{}, fmt.Errorf("%s: %w", c.Command, whole.Err())
		case <-noAnswer:
			who := "controller"
			if c.Command == wire.TestAlert {
				who = "monitor"
			}
			return wire.Status{}, fmt.Errorf("%s: no answer in %v: is weir %s running, and on the topics of %s?", c.Command, w.timeout, who, s.root)
		}
	}
}

// upToHours reads seconds of somebody else's.
func upToHours(seconds float64) time.Duration {
	return time.Duration(max(0, min(seconds, (3*time.Hour).Seconds())) * float64(time.Second))
}

// untilApproved is how long a command may wait for a second person; controllers' clocks may be anywhere.
func untilApproved(status wire.Status, now time.Time) time.Duration {
	seconds := status.ApprovalUntil - wire.Timestamp(now)
	return time.Duration(max(0, min(seconds, time.Hour.Seconds())) * float64(time.Second))
}
