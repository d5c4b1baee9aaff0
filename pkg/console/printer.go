// Package console is how the programs speak to people without being held up by them: a printer that never blocks its
// caller, and the folding of complaints that repeat.
package console

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
)

// queueLines is how far a terminal may fall behind before lines are left out.
const queueLines = 1024

// Printer writes lines from a goroutine of its own: a terminal stopped by Ctrl-S, or a full pipe, must not stop
// detection or control.
type Printer struct {
	w     io.Writer
	lines chan string
	lost  atomic.Uint64
}

// NewPrinter returns a printer to w; nothing is written before Run.
func NewPrinter(w io.Writer) *Printer {
	return &Printer{w: w, lines: make(chan string, queueLines)}
}

// Printf queues one line, without its newline. It never blocks; what finds no room is counted and said later.
func (p *Printer) Printf(format string, args ...any) {
	select {
	case p.lines <- fmt.Sprintf(format, args...):
	default:
		p.lost.Add(1)
	}
}

// Run writes until ctx is done, then what is still queued. It returns late if the writer blocks: don't wait for it
// without a limit.
func (p *Printer) Run(ctx context.Context) {
	for {
		select {
		case line := <-p.lines:
			p.write(line)
		case <-ctx.Done():
			p.drain()
			return
		}
	}
}

func (p *Printer) drain() {
	for {
		select {
		case line := <-p.lines:
			p.write(line)
		default:
			return
		}
	}
}

// write ignores errors: a closed terminal is no reason to stop protecting.
func (p *Printer) write(line string) {
	_, _ = io.WriteString(p.w, line+"\n")
	if n := p.lost.Swap(0); n > 0 {
		_, _ = fmt.Fprintf(p.w, "(%d lines left out: the output was too slow)\n", n)
	}
}
