package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// linkWait is how long Once waits for the broker.
const linkWait = 5 * time.Second

// onceWidth is the width of Once's text.
const onceWidth = 100

// Once prints one sample, as text or one line of JSON for each interface, and fails if there is none in time.
func Once(ctx context.Context, cfg Config, s Source, asJSON bool, out io.Writer) error {
	cfg.Look.Plain = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, over := make(chan Event), make(chan error, 1)
	go func() {
		over <- s.Run(ctx, func(e Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
	}()
	p := NewPicture(cfg, time.Now())
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case e := <-events:
			p.Apply(e)
		case err := <-over:
			if err == nil {
				err = errors.New("there is nothing to show")
			}
			return err
		case <-every.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		done, err := p.complete(time.Now())
		if err != nil {
			return err
		}
		if done {
			cancel()
			<-over
			return p.print(time.Now(), asJSON, out)
		}
	}
}

// complete tells whether there is a whole sample, or why there will be none. CPU and RAM are waited for, but not in vain.
func (p *Picture) complete(now time.Time) (bool, error) {
	late := now.Sub(p.started) > p.cfg.silentAfter()
	seen := 0
	for _, f := range p.faces {
		if f.gone != nil {
			return false, f.gone
		}
		if f.whole || late && !f.at.IsZero() {
			seen++
		}
	}
	switch {
	case seen == len(p.faces):
		return late || p.cpu.known() != nil && p.ram.known() != nil, nil
	case p.cfg.Remote && !p.linked && now.Sub(p.started) > linkWait:
		return false, fmt.Errorf("no connection to %s in %v: is the broker running?", p.cfg.Broker, linkWait)
	case late && p.linked && p.cfg.Remote && now.Sub(p.turned) > p.cfg.silentAfter():
		return false, fmt.Errorf("no metrics in %v: is weir sensor running, and on the topics of %s?", p.cfg.silentAfter(), safe(p.cfg.Root.String()))
	case late && !p.cfg.Remote:
		return false, fmt.Errorf("the datapath was not read within %v: is this machine overloaded?", p.cfg.silentAfter())
	}
	return false, nil
}

func (p *Picture) print(now time.Time, asJSON bool, out io.Writer) error {
	if asJSON {
		for _, d := range p.documents(now) {
			line, err := d.encode()
			if err != nil {
				return err
			}
			if _, err := out.Write(line); err != nil {
				return err
			}
		}
		return nil
	}
	for i, f := range p.faces {
		v := view{Look: p.cfg.Look, p: p, f: f, now: now, width: onceWidth, fixed: true}
		if i > 0 {
			fmt.Fprintln(out)
		}
		for _, line := range append(append(v.head(3), ""), v.whole()...) {
			if _, err := fmt.Fprintln(out, strings.TrimRight(line, " ")); err != nil {
				return err
			}
		}
	}
	return nil
}
