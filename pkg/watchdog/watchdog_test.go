package watchdog

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

func TestStuckPartsAreNamed(t *testing.T) {
	var d Dog
	start := time.Now()
	d.note("sensor", start)
	d.note("broker", start)
	d.note("monitor", start.Add(10*time.Second))
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{15 * time.Second, nil},
		{15*time.Second + 1, []string{"broker", "sensor"}},
		{25*time.Second + 1, []string{"broker", "monitor", "sensor"}},
	} {
		if got := d.stuck(start.Add(c.after), 15*time.Second); !reflect.DeepEqual(got, c.want) {
			t.Errorf("after %s: %v, want %v", c.after, got, c.want)
		}
	}
	d.note("sensor", start.Add(26*time.Second))
	if got := d.stuck(start.Add(26*time.Second), 15*time.Second); !reflect.DeepEqual(got, []string{"broker", "monitor"}) {
		t.Errorf("after the sensor moved: %v", got)
	}
}

// TestWatch has systemd told only as long as every part moves, and again when the one that was stuck goes on.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const limit = 800 * time.Millisecond
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(limit.Microseconds(), 10))
	heard := func(within time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		b := make([]byte, 64)
		n, err := conn.Read(b)
		if err == nil && string(b[:n]) != "WATCHDOG=1" {
			t.Errorf("systemd was told %q", b[:n])
		}
		return err == nil
	}

	var d Dog
	var hung atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	for _, name := range []string{"sensor", "monitor"} {
		alive := d.Part(name)
		go func() {
			for ctx.Err() == nil {
				if name == "sensor" || !hung.Load() {
					alive()
				}
				time.Sleep(limit / 80)
			}
		}()
	}
	go func() { defer close(ended); d.Watch(ctx, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	for range 6 {
		if !heard(10 * time.Second) {
			t.Fatal("systemd isn't told")
		}
	}
	hung.Store(true)
	for deadline := time.Now().Add(10 * time.Second); heard(2 * limit); {
		if time.Now().After(deadline) {
			t.Fatal("systemd is told of a program with a part that hangs")
		}
	}
	hung.Store(false)
	if !heard(10 * time.Second) {
		t.Error("systemd isn't told that all is well again")
	}
	cancel()
	<-ended
}

func TestNoSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	var d Dog
	d.Watch(t.Context(), slog.New(slog.NewTextHandler(io.Discard, nil))) // returns
	if err := Ready(); err != nil {
		t.Error(err)
	}
}
