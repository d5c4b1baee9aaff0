package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/weir-sensor/weir/pkg/config"
)

// newLogger writes text to a terminal and JSON where systemd collects it, unless told.
func newLogger(w io.Writer, cfg config.Log) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		return nil, fmt.Errorf("log level %q: give debug, info, warn or error", cfg.Level)
	}
	format := cfg.Format
	if format == "auto" {
		format = "text"
		if os.Getenv("JOURNAL_STREAM") != "" {
			format = "json"
		}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q: give auto, text or json", cfg.Format)
}
