package bustest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
)

// Patience is how long a real connection may take.
const Patience = 10 * time.Second

// Run is a component's.
type Run func(ctx context.Context, ready func()) error

// Play runs what begin makes in a bubble of fake time, plays a scene when it is ready, and demands that it ends in time.
func Play(t *testing.T, begin func() (Run, error), scene func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		run, err := begin()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- run(ctx, sync.OnceFunc(func() { close(ready) })) }()
		<-ready
		synctest.Wait()
		scene()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * time.Second):
			t.Error("Run doesn't end")
		}
	})
}

// Start runs something until the test ends, or stop is called, and waits until it is ready.
func Start(t *testing.T, run Run) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx, sync.OnceFunc(func() { close(ready) })); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	select {
	case <-ready:
	case <-time.After(Patience):
		t.Fatal("not ready")
	}
	return stop
}

// Connect connects to a real broker.
func Connect(t *testing.T, addr, id string) *bus.Client {
	t.Helper()
	c, err := bus.Connect(bus.Options{Broker: "tcp://" + addr, ClientID: id, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err := c.AwaitConnection(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}
