package console

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFold(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	f := Fold{Every: time.Minute}
	for _, step := range []struct {
		at     time.Duration
		folded int
		ok     bool
	}{
		{0, 0, true},
		{time.Second, 0, false},
		{59 * time.Second, 0, false},
		{time.Minute, 2, true},
		{61 * time.Second, 0, false},
		{-time.Hour, 1, true}, // the clock was set back
	} {
		folded, ok := f.Say(start.Add(step.at))
		if folded != step.folded || ok != step.ok {
			t.Errorf("at %v: got %d %v, want %d %v", step.at, folded, ok, step.folded, step.ok)
		}
	}
}

func TestPrinterKeepsOrderAndDrains(t *testing.T) {
	var out bytes.Buffer
	p := NewPrinter(&out)
	p.Printf("one %d", 1)
	p.Printf("two")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ctx)
	if got := out.String(); got != "one 1\ntwo\n" {
		t.Errorf("got %q", got)
	}
}

func TestPrinterNeverBlocksOnAStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe() // blocks until somebody reads
		p := NewPrinter(w)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Run(ctx); w.Close(); close(done) }()
		for range 2 * queueLines {
			p.Printf("line")
		}
		cancel()
		got, err := io.ReadAll(r)
		<-done
		if err != nil || !strings.Contains(string(got), "lines left out") {
			t.Errorf("err %v, nothing said of the lost lines", err)
		}
	})
}

func TestComplaintsFoldEachMessageByItself(t *testing.T) {
	var out bytes.Buffer
	c := Complaints{Log: slog.New(slog.NewTextHandler(&out, nil)), Every: time.Minute}
	start := time.Unix(1_000_000, 0)
	c.Warn(start, "away", "n", 1)
	c.Warn(start, "refused", "n", 2)
	c.Warn(start.Add(time.Second), "away", "n", 3)
	c.Warn(start.Add(time.Minute), "away", "n", 4)
	got := out.String()
	for _, want := range []string{"msg=away n=1\n", "msg=refused n=2\n", "msg=away n=4 more=1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "n=3") {
		t.Errorf("said twice within the minute:\n%s", got)
	}
}
