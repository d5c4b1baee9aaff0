package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/config"
)

// TestJournalLines have the priority of their level before JSON, with all that was added to the logger.
func TestJournalLines(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newJournalHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})).With("component", "sensor").WithGroup("of")
	log.Debug("a", "n", 1)
	log.Info("b", "n", 2)
	log.Warn("c", "n", 3)
	log.Error("d", "n", 4)
	for i, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		var x struct {
			Level, Msg, Component string
			Of                    struct{ N int }
		}
		prefix := []string{"<7>", "<6>", "<4>", "<3>"}[i]
		rest, ok := strings.CutPrefix(line, prefix)
		if err := json.Unmarshal([]byte(rest), &x); !ok || err != nil || x.Component != "sensor" || x.Of.N != i+1 {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestFormats(t *testing.T) {
	pipe, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	for _, c := range []struct {
		service string // SYSTEMD_EXEC_PID
		w       io.Writer
		format  string
		json    bool
	}{
		{"", pipe, "auto", false},
		{fmt.Sprint(os.Getpid()), pipe, "auto", true},
		{fmt.Sprint(os.Getppid()), pipe, "auto", false}, // what a service started
		{fmt.Sprint(os.Getpid()), pipe, "text", false},
		{"", pipe, "json", true},
		{fmt.Sprint(os.Getpid()), &bytes.Buffer{}, "auto", false},
	} {
		t.Setenv("SYSTEMD_EXEC_PID", c.service)
		log, err := newLogger(c.w, config.Log{Level: "info", Format: c.format})
		if err != nil {
			t.Fatal(err)
		}
		if _, is := log.Handler().(*slog.JSONHandler); is != c.json {
			t.Errorf("%+v: %T", c, log.Handler())
		}
	}
	if _, err := newLogger(pipe, config.Log{Level: "info", Format: "xml"}); err == nil {
		t.Error("xml is taken")
	}
	if _, err := newLogger(pipe, config.Log{Level: "loud", Format: "auto"}); err == nil {
		t.Error("a level that there isn't is taken")
	}
}
