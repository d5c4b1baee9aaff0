package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/term"

	"github.com/weir-sensor/weir/pkg/config"
)

// newLogger writes text to a terminal and JSON where systemd collects it, unless told.
func newLogger(w io.Writer, cfg config.Log) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		return nil, fmt.Errorf("log level %q: give debug, info, warn or error", cfg.Level)
	}
	opts := &slog.HandlerOptions{Level: level}
	format := cfg.Format
	if format == "auto" {
		format = "text"
		if ofService(w) {
			format = "json"
		}
	}
	switch {
	case format == "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case format == "json" && toJournal(w):
		return slog.New(newJournalHandler(w, opts)), nil
	case format == "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q: give auto, text or json", cfg.Format)
}

// ofService tells whether systemd takes what is written to w, as from the process that it has started for a service. What that starts
// inherits its variables, so they alone say nothing.
func ofService(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || term.IsTerminal(int(f.Fd())) {
		return false
	}
	return toJournal(os.Stderr) || os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid())
}

func toJournal(w io.Writer) bool {
	yes, err := journal.StderrIsJournalStream()
	return w == os.Stderr && yes && err == nil
}

// journalHandler puts before each line how grave it is, as sd-daemon(3) has it: the journal takes it off, and journalctl -p knows.
type journalHandler struct{ byPriority []slog.Handler }

var priorities = []struct {
	from   slog.Level
	prefix string
}{{slog.LevelError, "<3>"}, {slog.LevelWarn, "<4>"}, {slog.LevelInfo, "<6>"}, {slog.LevelDebug - 1<<10, "<7>"}}

func newJournalHandler(w io.Writer, opts *slog.HandlerOptions) journalHandler {
	var h journalHandler
	for _, p := range priorities {
		h.byPriority = append(h.byPriority, slog.NewJSONHandler(prefixed{w, p.prefix}, opts))
	}
	return h
}

func (h journalHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.byPriority[0].Enabled(ctx, l)
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	for i, p := range priorities {
		if r.Level >= p.from {
			return h.byPriority[i].Handle(ctx, r)
		}
	}
	return nil
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.each(func(x slog.Handler) slog.Handler { return x.WithAttrs(attrs) })
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	return h.each(func(x slog.Handler) slog.Handler { return x.WithGroup(name) })
}

func (h journalHandler) each(do func(slog.Handler) slog.Handler) slog.Handler {
	all := slices.Clone(h.byPriority)
	for i, x := range all {
		all[i] = do(x)
	}
	return journalHandler{all}
}

// prefixed gets a whole line with each Write.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// received is where components print what they receive: a line for each message, for people. A service's log would drown in them, so
// there they are for --log-level debug.
func received(w io.Writer, log *slog.Logger) io.Writer {
	if !ofService(w) {
		return w
	}
	return debugWriter{log}
}

type debugWriter struct{ log *slog.Logger }

func (d debugWriter) Write(line []byte) (int, error) {
	d.log.Debug("message", "text", string(bytes.TrimSuffix(line, []byte("\n"))))
	return len(line), nil
}

// complain says why weir ends, as the log would.
func complain(w io.Writer, text string) {
	if ofService(w) {
		if log, err := newLogger(w, config.Default().Log); err == nil {
			log.Error("weir ends", "err", text)
			return
		}
	}
	fmt.Fprintln(w, "weir:", text)
}
