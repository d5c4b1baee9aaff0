package top

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Run shows the terminal until a person quits or ctx ends.
func Run(ctx context.Context, cfg Config, s Source, c Commander, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	m := newModel(ctx, cfg, c, time.Now())
	p := tea.NewProgram(m, tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler(), tea.WithEnvironment(os.Environ()))
	// Not by WithContext, which doesn't wait for the end of reading.
	defer context.AfterFunc(ctx, p.Quit)()
	var source sync.WaitGroup
	source.Go(func() {
		p.Send(ended{s.Run(ctx, func(e Event) { p.Send(e) })})
	})
	_, err := p.Run()
	cancel()
	source.Wait()
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	return nil
}
