package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// maxOwn bounds the commands of one person that wait for another, so that nobody takes others' places.
const maxOwn = 4

// approvals are the commands that two people must send, and those that one has sent. It is pure: the time is an argument.
type approvals struct {
	commands []string
	within   time.Duration
	waiting  []request // in the order in which they end
}

// request is a command that one person has sent, perhaps again and again.
type request struct {
	sent   []wire.Command
	person string
	until  time.Time
}

var errNobody = errors.New("two people must send this command, each with an operator's key that bears his name: " +
	"weir keys issue operator SITE --label NAME")

// concerns tells whether a command is one of those.
func (a *approvals) concerns(command string) bool { return slices.Contains(a.commands, command) }

// ask notes that a person wants a command. If others have asked for the same, it returns what they have sent: then it is to be done.
// Else it tells until when it waits.
func (a *approvals) ask(now time.Time, cmd wire.Command, person string) (others []wire.Command, until time.Time, err error) {
	if person == "" {
		return nil, until, errNobody
	}
	own, again := 0, -1
	for i, r := range a.waiting {
		if !now.Before(r.until) {
			continue
		}
		if r.person == person {
			own += len(r.sent)
		}
		switch {
		case !same(r.sent[0], cmd):
		case r.person == person:
			again = i
		default:
			others = append(others, r.sent...)
		}
	}
	if others != nil {
		a.waiting = slices.DeleteFunc(a.waiting, func(r request) bool { return now.Before(r.until) && same(r.sent[0], cmd) })
		return others, until, nil
	}
	if own >= maxOwn {
		return nil, until, fmt.Errorf("%d commands by %s wait for a second person already: wait for their end", maxOwn, person)
	}
	if again >= 0 {
		r := &a.waiting[again]
		r.sent = append(r.sent, cmd)
		return nil, r.until, nil
	}
	until = now.Add(a.within)
	a.waiting = append(a.waiting, request{[]wire.Command{cmd}, person, until})
	return nil, until, nil
}

// same tells commands that do the same.
func same(a, b wire.Command) bool {
	return a.Command == b.Command && a.Source == b.Source && a.Rate == b.Rate && a.Burst == b.Burst && a.TTLSeconds == b.TTLSeconds && max(a.Count, 1) == max(b.Count, 1)
}

// expired takes out those that nobody else has sent in time.
func (a *approvals) expired(now time.Time) []request {
	n := 0
	for n < len(a.waiting) && !now.Before(a.waiting[n].until) {
		n++
	}
	out := slices.Clone(a.waiting[:n])
	a.waiting = slices.Delete(a.waiting, 0, n)
	return out
}

// alarm rings when the next one ends.
func (a *approvals) alarm(now time.Time) <-chan time.Time {
	if len(a.waiting) == 0 {
		return nil
	}
	return time.After(a.waiting[0].until.Sub(now))
}

// await says that a command waits for a second person.
func (c *Controller) await(now time.Time, cmd wire.Command, person string, until time.Time) {
	c.log.Info("a command waits for a second person", "command", cmd.Command, "source", cmd.Source, "person", person, "id", cmd.ID, "until", until)
	c.reportOf(now, cmd, wire.Status{
		Command: cmd.Command, Status: wire.Failure, ID: cmd.ID, Origin: cmd.Origin, SignedBy: cmd.SignedBy, ApprovalUntil: wire.Timestamp(until),
		Detail: fmt.Sprintf("not done yet: %s asks for it, and it is done if another operator sends the same within %v",
			person, until.Sub(now).Round(time.Second)),
	})
}

// forget answers those that nobody has approved.
func (c *Controller) forget(now time.Time) {
	for _, r := range c.approvals.expired(now) {
		for _, cmd := range r.sent {
			c.refuse(now, cmd, fmt.Errorf("not done: no other operator has sent the same within %v", c.cfg.ApproveWithin))
		}
	}
}

// approvedBy names who has sent a command, if they had to be two.
func approvedBy(asked []wire.Command) string {
	if len(asked) < 2 {
		return ""
	}
	var names []string
	for _, a := range asked {
		if !slices.Contains(names, a.SignedBy) {
			names = append(names, a.SignedBy)
		}
	}
	return "; sent by " + strings.Join(names, " and ")
}
