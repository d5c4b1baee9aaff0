package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/bus/broker"
	"github.com/weir-sensor/weir/pkg/controller"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/keys"
	"github.com/weir-sensor/weir/pkg/monitor"
	"github.com/weir-sensor/weir/pkg/sensor"
	"github.com/weir-sensor/weir/pkg/trust"
)

func newSensor() *cobra.Command {
	return settled(&cobra.Command{
		Use:   "sensor",
		Short: "Count packets in XDP and publish metrics (root)",
		Long: `Load, attach and pin the datapath, or adopt the one that is there, and publish metrics/cpu, metrics/ram and
metrics/network every five seconds. Needs root, or CAP_BPF and CAP_NET_ADMIN. The datapath outlives the sensor: see
weir unload.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runParts(cmd, sensorPart) },
	})
}

func newMonitor() *cobra.Command {
	return settled(&cobra.Command{
		Use:   "monitor",
		Short: "Compare metrics with thresholds, publish alerts and commands",
		Long: `Compare the sensor's metrics with thresholds, publish alerts, and ask for rate limiting or more servers. Prints what
it receives, public/# included. Needs no privilege.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runParts(cmd, monitorPart) },
	})
}

func newController() *cobra.Command {
	return settled(&cobra.Command{
		Use:   "controller",
		Short: "Carry out commands on the host of the sensor (root)",
		Long: `Carry out the commands on control/command: flip the pinned control map, renew its lease while the flood lasts, keep the
allow and block lists, add servers and take them away (scaling.backend), and publish a status for each command. SIGHUP reads the lists of the configuration again. Runs on the
host of the sensor, as root.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runParts(cmd, controllerPart) },
	})
}

func newBroker() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "broker",
		Short: "Run the embedded MQTT broker",
		Long: `Run the embedded MQTT broker (MQTT 3.1.1 and 5, over TCP and WebSocket). With an identity it listens with TLS, lets in
who shows the certificate and the password of one identity in the trust file, and lets each do what its role may; SIGHUP reads
the trust file again. Without one it asks nobody who he is, so anything but loopback must be asked for with --allow-remote.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runParts(cmd, brokerPart) },
	})
	cmd.AddCommand(newBrokerExport())
	return cmd
}

func newUp() *cobra.Command {
	return settled(&cobra.Command{
		Use:   "up",
		Short: "Run everything on this machine: broker, sensor, monitor, controller, web page (root)",
		Long: `Run everything on this machine: the embedded broker, sensor, monitor, controller and the web page. With --broker it
uses that broker and starts none.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runParts(cmd, upBrokerPart, sensorPart, controllerPart, monitorPart, upWebPart)
		},
	})
}

// maker makes one component, or none.
type maker func(setup, *cobra.Command) (part, error)

func runParts(cmd *cobra.Command, makers ...maker) error {
	s, err := newSetup(cmd)
	if err != nil {
		return err
	}
	exporter, err := s.exporterPart()
	if err != nil {
		return err
	}
	parts := []part{exporter}
	for _, m := range makers {
		p, err := m(s, cmd)
		if err != nil {
			return err
		}
		if p.run != nil {
			s.exports.Expect(p.name)
			parts = append(parts, p)
		}
	}
	return runAll(cmd.Context(), s.log, parts...)
}

// upBrokerPart is the embedded broker, unless another is named. Its clients are then told where it listens.
func upBrokerPart(s setup, cmd *cobra.Command) (part, error) {
	if s.cfg.Given("broker") {
		return part{}, nil
	}
	s.cfg.Broker.URL = "tcp://" + reached(s.cfg.Listen.TCP)
	if s.cfg.Broker.Identity != "" {
		s.cfg.Broker.URL = "tls://" + reached(s.cfg.Listen.TCP)
		id, err := s.identity("broker")
		if err != nil {
			return part{}, err
		}
		s.who.broker = id
	}
	return brokerPart(s, cmd)
}

// reached is where this machine reaches what listens on an address, which may stand for all of them.
func reached(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if addr, e := netip.ParseAddr(host); err == nil && (host == "" || e == nil && addr.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

func brokerPart(s setup, _ *cobra.Command) (part, error) {
	cfg := broker.Config{Listen: s.cfg.Listen.TCP, ListenWS: s.cfg.Listen.WebSocket, AllowRemote: s.cfg.Listen.AllowRemote}
	id, err := s.identity("broker")
	if err != nil {
		return part{}, err
	}
	if id != nil {
		cfg.Trust = &broker.Trust{File: func() *trust.File { return id.now.Load().Trust }, TLS12: s.cfg.Broker.AllowTLS12}
		cfg.Trust.Certificate, cfg.Trust.Key = keys.Files(id.dir)
	}
	b, err := broker.New(cfg, s.log.With("component", "broker"))
	if err != nil {
		return part{}, err
	}
	s.exports.Broker(b.Stats)
	return part{name: "broker", run: func(ctx context.Context, alive func()) error {
		return b.Run(ctx, func() {
			s.exports.Ready("broker", nil)
			alive()
		})
	}, last: true}, nil
}

func sensorPart(s setup, _ *cobra.Command) (part, error) {
	names, err := interfacesOf(s.cfg)
	if err != nil {
		return part{}, err
	}
	budgets, err := budgetsOf(s.cfg)
	if err != nil {
		return part{}, err
	}
	return part{name: "sensor", run: func(ctx context.Context, alive func()) error {
		return s.runSensor(ctx, alive, names, budgets)
	}}, nil
}

func (s setup) runSensor(ctx context.Context, alive func(), names []string, budgets datapath.Budgets) (err error) {
	log := s.log.With("component", "sensor", "interface", strings.Join(names, ","))
	all, err := s.attachAll(names, budgets)
	if err != nil {
		return err
	}
	defer all.close()
	started := false
	defer func() {
		if err != nil && !started {
			err = errors.Join(err, all.undo(s.cfg.BPFFS))
		}
	}()
	will := sensor.Will(s.root, s.transport())
	client, err := s.connect("sensor", &will)
	if err != nil {
		return err
	}
	defer client.Close()
	x, err := sensor.New(sensor.Config{
		Root: s.root, Deaf: s.cfg.Broker.Identity != "", Interface: strings.Join(names, ","), Tier: all.tier(), Version: version, Host: hostname(), Transport: s.transport(), Warning: s.ending("sensor"),
		Interval: s.cfg.Sensor.Interval, EarlyReport: s.cfg.Sensor.EarlyReport, TopSources: s.cfg.Sensor.TopSources,
	}, all, hoststats.New(), newCards(names), client, log)
	if err != nil {
		return err
	}
	s.exportSensor(x, all, client)
	go all.expire(ctx)
	err = x.Run(ctx, func() {
		started = true
		alive()
	})
	if err != nil {
		return err
	}
	if c, err := all.Control(); err == nil && ctx.Err() != nil {
		log.Info("ended; what was attached stays: weir unload takes it off", "mode", mode(c), "lease", c.Lease.String())
	}
	return nil
}

func monitorPart(s setup, cmd *cobra.Command) (part, error) {
	cfg := s.cfg.Monitor
	cfg.Root = s.root
	log := s.log.With("component", "monitor")
	notifiers, err := s.notifiers(log)
	if err != nil {
		return part{}, err
	}
	return part{name: "monitor", run: func(ctx context.Context, alive func()) error {
		client, err := s.connect("monitor", nil)
		if err != nil {
			return err
		}
		defer client.Close()
		m, err := monitor.New(cfg, client, received(cmd.OutOrStdout(), log), log)
		if err != nil {
			return err
		}
		m.NotifyBy(notifiers)
		s.exportMonitor(m, notifiers, client)
		var beside sync.WaitGroup
		defer beside.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		beside.Go(func() { notifiers.Run(ctx) })
		return m.Run(ctx, alive)
	}}, cfg.Validate()
}

func controllerPart(s setup, cmd *cobra.Command) (part, error) {
	names, err := interfacesOf(s.cfg)
	if err != nil {
		return part{}, err
	}
	budgets, err := budgetsOf(s.cfg)
	if err != nil {
		return part{}, err
	}
	cfg := controller.DefaultConfig()
	cfg.Root, cfg.Lease = s.root, s.cfg.Limit.Lease
	cfg.RenewEvery = min(cfg.RenewEvery, cfg.Lease/4) // a renewal may fail and be tried again
	cfg.Limit = datapath.Limit{Rate: s.cfg.Limit.Rate, Burst: s.cfg.Limit.Burst}
	cfg.File = filepath.Join(s.cfg.Broker.State, "limit.json")
	if cfg.Approve, cfg.ApproveWithin, err = s.approval(); err != nil {
		return part{}, err
	}
	if err := cfg.Validate(); err != nil {
		return part{}, fmt.Errorf("controller: %w", err)
	}
	log := s.log.With("component", "controller")
	servers, err := s.newScaler(log)
	if err != nil {
		return part{}, err
	}
	lists, err := listSettings(s.cfg)
	if err != nil {
		return part{}, err
	}
	limiter, lister := limiters{names: names}, keepers{names: names}
	for _, name := range names {
		l, err := newActuator(s.cfg, budgets, name, log)
		if err != nil {
			return part{}, err
		}
		k, err := datapath.NewListKeeper(s.cfg.BPFFS, name, lists)
		if err != nil {
			return part{}, err
		}
		limiter.all, lister.all = append(limiter.all, l), append(lister.all, k)
	}
	return part{name: "controller", run: func(ctx context.Context, alive func()) error {
		client, err := s.connect("controller", nil)
		if err != nil {
			return err
		}
		defer client.Close()
		cfg.Transport, cfg.Warning, cfg.Describe = s.transport(), s.ending("controller"), limiter.all[0].describe
		cfg.Reconnected = client.Reconnected()
		c, err := controller.New(cfg, client, limiter, received(cmd.OutOrStdout(), log), log)
		if err != nil {
			return err
		}
		noted, done := s.auditLog("controller")
		defer done()
		c.Audit(noted)
		c.KeepLists(controllersLists(lister))
		if servers != nil {
			c.ScaleBy(servers)
		}
		s.exportController(c, client)
		var beside sync.WaitGroup
		defer beside.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for _, l := range limiter.all {
			beside.Go(func() { l.tend(ctx) })
			if s.cfg.Limiter != limiterTC {
				beside.Go(func() { l.xdp.arm(ctx) })
				beside.Go(func() { l.xdp.tendFallback(ctx) })
			}
		}
		beside.Go(func() { reloadLists(ctx, cmd, lister, log) })
		return c.Run(ctx, alive)
	}}, nil
}
