// Weir is a packet-level denial-of-service sensor and rate limiter.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// version is set by the linker: -X main.version=…
var version = "unknown"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := newRoot()
	if err := cmd.ExecuteContext(ctx); err != nil {
		if line := oneLine(err); line != "" {
			fmt.Fprintln(os.Stderr, "weir:", line)
		}
		var verbose *datapath.VerboseError
		if on, _ := cmd.PersistentFlags().GetBool("verbose"); on && errors.As(err, &verbose) {
			fmt.Fprintln(os.Stderr, verbose.Log())
		}
		return 1
	}
	return 0
}

// errSilent ends with exit status 1 when everything has been said.
var errSilent = errors.New("")

// oneLine joins what errors.Join has put on lines of their own.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
