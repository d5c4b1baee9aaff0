package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// BenchmarkPage measures how long people wait: for the first paint and for the rows, with an hour of history; and from publishing to
// the screen, the publisher's start included.
func BenchmarkPage(b *testing.B) {
	s := newSite(b)
	s.start("broker")
	s.start("web", "--web-history", s.history())
	for b.Loop() {
		s.browseWith(func(line string) {
			var name string
			var value float64
			if _, err := fmt.Sscanf(line, "metric %s %f", &name, &value); err == nil {
				b.ReportMetric(value, name)
			}
		}, "speed", nil)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPages measures what a hundred open pages cost the server, at one message a second.
func BenchmarkPages(b *testing.B) {
	const pages, span = 100, 20 * time.Second
	s := newSite(b)
	s.start("broker")
	p := s.start("web", "--web-history", s.history())
	idle := residentKB(b, p.PID())
	var reading sync.WaitGroup
	dial := &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{DialContext: s.Bank.Dial}}}
	for range pages {
		c, _, err := websocket.Dial(b.Context(), "ws://127.0.0.1:8080/api/live", dial)
		if err != nil {
			b.Fatal(err)
		}
		c.SetReadLimit(64 << 20)
		reading.Go(func() {
			for {
				if _, _, err := c.Read(b.Context()); err != nil {
					return
				}
			}
		})
	}
	for b.Loop() {
		before, start := cpuTime(b, p.PID()), time.Now()
		for i := 0; time.Since(start) < span; i++ {
			te.Publish(b, s.Bank, brokerAddr, root+"/metrics/cpu", []byte(`{"cpu_usage": `+strconv.Itoa(i%100)+`}`))
			time.Sleep(time.Until(start.Add(time.Duration(i+1) * time.Second)))
		}
		b.ReportMetric(100*(cpuTime(b, p.PID())-before).Seconds()/time.Since(start).Seconds(), "%core")
	}
	b.ReportMetric(float64(residentKB(b, p.PID()))/1024, "MB")
	b.ReportMetric(float64(idle)/1024, "MB-closed")
	b.ReportMetric(0, "ns/op")
	if strings.Contains(p.Output(), "level=WARN") {
		b.Error("there were warnings")
	}
}
