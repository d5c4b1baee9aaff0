package bus

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/console"
)

// info returns a log of info and above and the number of its lines that hold a text.
func info() (*slog.Logger, func(part string) int) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), func(part string) int { return strings.Count(b.String(), part) }
}

// TestFlappingLink is one complaint each half minute, and each line of a loss has one of its end.
func TestFlappingLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := info()
		o := outage{losses: console.Fold{Every: foldFor}}
		o.over(log)
		for range 100 {
			time.Sleep(time.Second)
			o.lost(log, io.EOF)
			o.failed(log, syscall.ECONNREFUSED)
			time.Sleep(time.Second)
			o.failed(log, errors.New("reset"))
			o.over(log)
		}
		// At 1, 31, 61, … of 200 s: seven outages, each with its loss, two reasons and its end.
		for part, want := range map[string]int{"lost: connecting": 7, "can't be reached": 14, "broker again": 7, "more=14": 6, "\n": 29} {
			if got := lines(part); got != want {
				t.Errorf("%q: %d times, want %d", part, got, want)
			}
		}
		o.lost(log, io.EOF) // folded, but it lasts
		for range 60 {
			time.Sleep(time.Second)
			o.failed(log, syscall.ECONNREFUSED)
		}
		o.over(log)
		for part, want := range map[string]int{"lost: connecting": 7, "can't be reached": 15, "broker again": 8} {
			if got := lines(part); got != want {
				t.Errorf("a long one, %q: %d times, want %d", part, got, want)
			}
		}
	})
}

// refusing is a connection on which nothing may be read.
type refusing struct{ mqtt.Client }

type refusal struct{ mqtt.Token }

func (refusing) Subscribe(string, byte, mqtt.MessageHandler) mqtt.Token { return refusal{} }

func (refusal) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (refusal) Error() error { return errRefused }

// TestRefusedSubscription is logged for each filter, not at each connection.
func TestRefusedSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := info()
		c := &Client{log: log}
		for _, filter := range []string{"a/#", "b/#"} {
			if err := c.Subscribe(filter, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			if err := c.restore(&link{paho: refusing{}}, c.subs); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for part, want := range map[string]int{"filter=a/#": 4, "filter=b/#": 4, "level=ERROR": 8, "more=29": 6} {
			if got := lines(part); got != want {
				t.Errorf("%q: %d times, want %d", part, got, want)
			}
		}
	})
}
