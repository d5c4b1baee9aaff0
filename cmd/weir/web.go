package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/audit"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/history"
	"github.com/weir-sensor/weir/pkg/web"
	"github.com/weir-sensor/weir/pkg/web/signin"
)

func newWeb() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "web",
		Short: "Serve the web page: what happens now, what happened, and commands",
		Long: `Serve the web page on http://127.0.0.1:8080: what the sensors, the monitor and the controller publish, live and as
charts, the history, and buttons that send commands. Needs the broker only, and no privilege. Beyond loopback people sign
in: see weir web user. SIGHUP reads the users again.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runParts(cmd, webPart) },
	})
	cmd.AddCommand(newWebUser())
	return cmd
}

func webPart(s setup, _ *cobra.Command) (part, error) {
	c := s.cfg
	cfg := web.Config{
		Root: s.root, Listen: c.Web.Listen, TLSCert: c.Web.TLSCert, TLSKey: c.Web.TLSKey, Origin: c.Web.Origin, Proxy: c.Web.Proxy,
		Users: c.Web.Users != "", Interval: c.Sensor.Interval, Version: version,
		Thresholds: web.Thresholds{
			CPU: c.Monitor.CPUThreshold, RAM: c.Monitor.RAMThreshold, SYNs: c.Monitor.SYNThreshold,
			Connections: c.Monitor.ConnectionsThreshold,
		},
	}
	for _, f := range strings.Split(c.Web.Watch, ",") {
		if f = strings.TrimSpace(f); f != "" {
			cfg.Watch = append(cfg.Watch, f)
		}
	}
	if err := cfg.Validate(); err != nil {
		return part{}, fmt.Errorf("web: %w", err)
	}
	return part{name: "web", run: func(ctx context.Context, alive func()) error {
		log := s.log.With("component", "web")
		client, err := s.connect("web", nil)
		if err != nil {
			return err
		}
		defer client.Close()
		var kept web.History
		if c.Web.History != "" {
			h, err := history.Open(ctx, c.Web.History, historyLimits(c.Web.KeepMetrics, c.Web.KeepEvents, c.Web.HistoryMB), log)
			if ctx.Err() != nil && err != nil {
				return nil // it was asked to end
			}
			if err != nil {
				return fmt.Errorf("%w: choose another web.history, or none", err)
			}
			defer func() {
				if err := h.Close(); err != nil {
					log.Warn("close the history", "err", err)
				}
			}()
			kept = h
			s.exports.History(h.Stats)
		}
		cfg.Warnings = s.endings("web")
		noted, done := s.auditLog("web")
		defer done()
		gate, err := s.gate(ctx, noted, log)
		if err != nil {
			return err
		}
		w, err := web.New(cfg, client, kept, gate, noted, log)
		if err != nil {
			return err
		}
		s.exportWeb(w, client)
		return w.Run(ctx, alive)
	}}, nil
}

// gate lets the users of the file in, and reads it again on SIGHUP. It is nil if there is no file.
func (s setup) gate(ctx context.Context, noted *audit.Log, log *slog.Logger) (web.Gate, error) {
	c := s.cfg.Web
	if c.Users == "" {
		return nil, nil
	}
	users, err := signin.ReadUsers(c.Users)
	if err != nil {
		return nil, fmt.Errorf("web.users: %w", err)
	}
	host, origin := web.PasskeysFor(c.Listen, c.Origin, c.TLSCert != "")
	g, err := signin.New(users, signin.Options{
		Secure: c.TLSCert != "" || c.Proxy, SecondFactor: c.SecondFactor == "required", Proxy: c.Proxy, Host: host, Origin: origin, Audit: noted,
		Change: func(change func([]signin.User) ([]signin.User, error)) ([]signin.User, error) {
			return signin.ChangeUsers(c.Users, change)
		},
	}, log)
	if err != nil {
		return nil, fmt.Errorf("web.users: %s: %w", c.Users, err)
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	go func() {
		defer signal.Stop(again)
		for {
			select {
			case <-again:
				users, err := signin.ReadUsers(c.Users)
				if err == nil {
					err = g.Replace(users)
				}
				log.Info("users read again", "file", c.Users, "users", len(users), "err", err)
			case <-ctx.Done():
				return
			}
		}
	}()
	return g, nil
}

func historyLimits(metrics, events time.Duration, megabytes int) history.Limits {
	l := history.Limits{Age: map[string]time.Duration{}, Bytes: int64(megabytes) << 20}
	for _, kind := range web.Metrics {
		l.Age[kind] = metrics
	}
	for _, kind := range web.Events {
		l.Age[kind] = events
	}
	return l
}

// webRetry is between attempts to serve the page in weir up.
const webRetry = 10 * time.Second

// upWebPart is the page, unless it isn't wanted. Protection doesn't depend on it: what fails is logged and tried again.
func upWebPart(s setup, cmd *cobra.Command) (part, error) {
	if s.cfg.Web.Listen == "" {
		return part{}, nil
	}
	p, err := webPart(s, cmd)
	if err != nil {
		return part{}, err
	}
	log := s.log.With("component", "web")
	run := p.run
	fold := console.Fold{Every: 10 * time.Minute}
	p.free = true
	p.run = func(ctx context.Context, alive func()) error {
		for {
			err := run(ctx, alive)
			if ctx.Err() != nil {
				return nil
			}
			if more, ok := fold.Say(time.Now()); ok {
				log.Error("no page: everything else goes on, and it is tried again", "err", err, "more", more)
			}
			alive()
			select {
			case <-time.After(webRetry):
			case <-ctx.Done():
				return nil
			}
		}
	}
	return p, nil
}
