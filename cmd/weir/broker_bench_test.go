package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/keys"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// member connects to the embedded broker from a host, as somebody.
func (s *guardedSite) member(h *te.Host, who string) mqtt.Client {
	s.t.Helper()
	id, err := keys.Load(filepath.Join(s.dir, who), "")
	must(s.t, err)
	o := mqtt.NewClientOptions().AddBroker(s.url).SetUsername(id.Name).SetPassword(id.Password).SetAutoReconnect(false).SetProtocolVersion(4).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			c, err := h.Dial(context.Background(), "tcp", net.JoinHostPort(s.Bank.IPv4.String(), "8883"))
			if err != nil {
				return nil, err
			}
			return tls.Client(c, &tls.Config{RootCAs: id.Roots, Certificates: []tls.Certificate{id.Certificate}, ServerName: s.Bank.IPv4.String()}), nil
		})
	c := mqtt.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		s.t.Fatalf("%s: %v", who, token.Error())
	}
	return c
}

// sensors makes identities of sensors of some servers.
func (s *guardedSite) sensors(n int) (names []string) {
	s.t.Helper()
	for i := range n {
		name := fmt.Sprintf("server%d", i)
		s.issue(name, "sensor", "-", name)
		names = append(names, name)
	}
	s.spread()
	return names
}

func (s *guardedSite) broker() *te.Process {
	return s.start("broker", "--config", filepath.Join(s.dir, "broker", "weir.yaml"), "--listen", "0.0.0.0:8883")
}

func metricsOf(server string) string {
	return wire.Root{Org: wire.DefaultRoot.Org, Server: server}.MetricsNetwork()
}

// BenchmarkBrokerTLS measures what 500 TLS clients cost the embedded broker, each with a message of 1 kB in five seconds that somebody
// reads.
func BenchmarkBrokerTLS(b *testing.B) {
	const clients, every, span = 500, 5 * time.Second, 20 * time.Second
	s := newGuardedSite(b)
	names := s.sensors(clients / 50)
	p := s.broker()
	read := make(chan struct{}, 1<<16)
	for _, name := range names {
		s.member(s.Bank, "viewer").Subscribe(metricsOf(name), 1, func(mqtt.Client, mqtt.Message) { read <- struct{}{} })
	}
	var all []mqtt.Client
	for i := range clients {
		all = append(all, s.member(s.Customer, names[i%len(names)]))
		time.Sleep(50 * time.Millisecond) // or the broker's door turns them away
	}
	payload := strings.Repeat("x", 1000)
	for b.Loop() {
		before, start := cpuTime(b, p.PID()), time.Now()
		sent := 0
		for ; time.Since(start) < span; sent++ {
			all[sent%clients].Publish(metricsOf(names[sent%clients%len(names)]), 0, false, payload)
			time.Sleep(time.Until(start.Add(time.Duration(sent+1) * every / clients)))
		}
		b.ReportMetric(100*(cpuTime(b, p.PID())-before).Seconds()/time.Since(start).Seconds(), "%core")
		time.Sleep(100 * time.Millisecond)
		if len(read) < sent*99/100 {
			b.Errorf("%d of %d messages came", len(read), sent)
		}
	}
	b.ReportMetric(float64(residentKB(b, p.PID()))/1024, "MB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCommandUnderFlood measures how long a command takes from its publisher to the controller while 50 members flood the broker as
// fast as they can, from another host: with metrics of theirs, small and as large as may be, and with what they may not publish. It begins
// with the flood, while each may still send what it has saved up.
func BenchmarkCommandUnderFlood(b *testing.B) {
	const hostile, commands = 50, 300
	s := newGuardedSite(b)
	names := s.sensors(hostile)
	s.broker()
	arrived := make(chan time.Time, 1)
	wait := func(token mqtt.Token) {
		if !token.WaitTimeout(patience) || token.Error() != nil {
			b.Fatal(token.Error())
		}
	}
	wait(s.member(s.Bank, "controller").Subscribe(wire.DefaultRoot.Command(), 1, func(mqtt.Client, mqtt.Message) { arrived <- time.Now() }))
	operator := s.member(s.Customer, "operator")
	measure := func() (p50, p99 time.Duration) {
		var took []time.Duration
		for range commands {
			begin := time.Now()
			wait(operator.Publish(wire.DefaultRoot.Command(), 1, false, `{"command":"enable_rate_limiting"}`))
			took = append(took, (<-arrived).Sub(begin))
			time.Sleep(20 * time.Millisecond)
		}
		slices.Sort(took)
		return took[len(took)/2], took[len(took)*99/100]
	}
	for b.Loop() {
		_, calm := measure()
		ctx, stop := context.WithCancel(b.Context())
		var flooding, connected sync.WaitGroup
		connected.Add(hostile)
		for i := range hostile {
			name := names[i%len(names)]
			flooding.Go(func() {
				c := s.member(s.Attacker, name)
				connected.Done()
				connected.Wait()
				topic := metricsOf(name)
				if i%5 == 0 {
					topic = wire.DefaultRoot.Command()
				}
				payload := strings.Repeat("x", 1000)
				if i%2 == 0 {
					payload = strings.Repeat("x", wire.MaxPayload)
				}
				for ctx.Err() == nil {
					if !c.IsConnectionOpen() {
						c = s.member(s.Attacker, name) // the broker has ended it
					}
					c.Publish(topic, 0, false, payload).Wait()
				}
				c.Disconnect(0)
			})
		}
		connected.Wait()
		p50, p99 := measure()
		stop()
		flooding.Wait()
		b.ReportMetric(calm.Seconds()*1000, "ms-p99-calm")
		b.ReportMetric(p50.Seconds()*1000, "ms-p50")
		b.ReportMetric(p99.Seconds()*1000, "ms-p99")
	}
	b.ReportMetric(0, "ns/op")
}
