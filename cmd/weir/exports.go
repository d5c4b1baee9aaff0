package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/metrics"
	"github.com/weir-sensor/weir/pkg/monitor"
	"github.com/weir-sensor/weir/pkg/notify"
	"github.com/weir-sensor/weir/pkg/secretfile"
	"github.com/weir-sensor/weir/pkg/sensor"
	"github.com/weir-sensor/weir/pkg/web"
)

// exporterPart serves what all components of this process tell of themselves.
func (s setup) exporterPart() (part, error) {
	c := s.cfg.Metrics
	cfg := metrics.Config{Listen: c.Listen, TLSCert: c.TLSCert, TLSKey: c.TLSKey, Pprof: c.Pprof}
	if err := cfg.Validate(); err != nil {
		return part{}, err
	}
	if c.TokenFile != "" {
		token, err := secretfile.ReadLine(c.TokenFile)
		if err != nil {
			return part{}, fmt.Errorf("metrics.token-file: %w", err)
		}
		cfg.Token = string(token)
	}
	if c.Pprof != "" {
		runtime.MemProfileRate = 512 << 10 // Go's default
	}
	return part{name: "metrics", free: true, run: func(ctx context.Context, alive func()) error {
		alive() // nothing waits for it
		return s.exports.Run(ctx, cfg, s.log.With("component", "metrics"))
	}}, nil
}

// notifiers are those of the configuration.
func (s setup) notifiers(log *slog.Logger) (*notify.Notifiers, error) {
	c := s.cfg.Notify
	return notify.New(notify.Config{
		Root: s.root, Alertmanager: commas(c.Alertmanager), PasswordFile: c.PasswordFile,
		Webhook: commas(c.Webhook), KeyFile: c.KeyFile, Syslog: commas(c.Syslog),
	}, log)
}

// commas splits a list.
func commas(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// errAway is said of a component that isn't connected.
var errAway = errors.New("it isn't connected to the broker")

func connected(client *bus.Client) error {
	if !client.Connected() {
		return errAway
	}
	return nil
}

func (s setup) exportSensor(x *sensor.Sensor, all *datapaths, client *bus.Client) {
	interfaces := map[string]string{}
	for _, a := range all.all {
		interfaces[a.name] = a.tier
	}
	s.exports.Sensor(x.Stats, all.tier(), tiers, interfaces)
	s.exportCertificate("sensor")
	s.exports.Ready("sensor", func(ctx context.Context) error {
		_, err := x.Stats(ctx)
		return errors.Join(err, connected(client))
	})
}

func (s setup) exportController(c *controller.Controller, client *bus.Client) {
	s.exports.Controller(c.Stats)
	s.exportCertificate("controller")
	s.exports.Ready("controller", func(ctx context.Context) error {
		stats, err := c.Stats(ctx)
		return errors.Join(err, stats.Unread, connected(client))
	})
}

func (s setup) exportMonitor(m *monitor.Monitor, n *notify.Notifiers, client *bus.Client) {
	s.exports.Monitor(m.Stats)
	s.exports.Notifiers(n.Stats)
	s.exportCertificate("monitor")
	s.exports.Ready("monitor", func(context.Context) error { return connected(client) })
}

func (s setup) exportWeb(w *web.Web, client *bus.Client) {
	s.exports.Web(w.Stats)
	s.exportCertificate("web")
	if file := s.cfg.Web.TLSCert; file != "" {
		s.exports.Certificate("page", func() (time.Time, error) { return certificateEnd(file) })
	}
	s.exports.Ready("web", func(context.Context) error {
		if !w.Stats().Serving {
			return errors.New("the page isn't served")
		}
		return connected(client)
	})
}

// exportCertificate tells when a component's identity ends.
func (s setup) exportCertificate(component string) {
	id, err := s.identity(component)
	if err != nil || id == nil {
		return
	}
	s.exports.Certificate(component, func() (time.Time, error) { return id.now.Load().NotAfter, nil })
}
