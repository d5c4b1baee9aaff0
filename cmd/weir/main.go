// Weir is a packet-level denial-of-service sensor and rate limiter.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// version is set by the linker: -X main.version=…
var version = "unknown"

// Noting where memory is allocated takes a megabyte and more: see exporterPart.
func init() { runtime.MemProfileRate = 0 }

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := newRoot()
	if err := cmd.ExecuteContext(ctx); err != nil {
		complain(os.Stderr, oneLine(err))
		var verbose *datapath.VerboseError
		if on, _ := cmd.PersistentFlags().GetBool("verbose"); on && errors.As(err, &verbose) {
			fmt.Fprintln(os.Stderr, verbose.Log())
		}
		if errors.Is(err, datapath.ErrUnloaded) {
			return statusUnloaded
		}
		return 1
	}
	return 0
}

// statusUnloaded ends a sensor whose datapath somebody has unloaded. The units don't start it again then.
const statusUnloaded = 3

// oneLine puts in one line what errors.Join and cobra's suggestions have put in several.
func oneLine(err error) string {
	text, suggested, found := strings.Cut(strings.TrimSpace(err.Error()), "\n\nDid you mean this?\n")
	if found {
		text += ": did you mean " + strings.Join(strings.Fields(suggested), " or ") + "?"
	}
	return strings.ReplaceAll(text, "\n", "; ")
}
