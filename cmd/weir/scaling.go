package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/scaler"
	"github.com/weir-sensor/weir/pkg/scaler/command"
	"github.com/weir-sensor/weir/pkg/scaler/haproxy"
	"github.com/weir-sensor/weir/pkg/scaler/health"
	"github.com/weir-sensor/weir/pkg/scaler/kube"
	"github.com/weir-sensor/weir/pkg/scaler/units"
)

// newScaler makes what the configuration asks for, nil for none.
func (s setup) newScaler(log *slog.Logger) (*scaler.Scaler, error) {
	c := s.cfg.Scaling
	if c.Backend == "" {
		return nil, nil
	}
	cfg := scaler.Config{
		Min: c.Min, Max: c.Max, CoolDown: c.CoolDown, Within: c.Within,
		File: filepath.Join(s.cfg.Broker.State, "scaling.json"),
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	backend, err := newBackend(c)
	if err != nil {
		return nil, fmt.Errorf("scaling.backend %s: %w", c.Backend, err)
	}
	if c, ok := backend.(interface{ Check() error }); ok { // what may be mended meanwhile keeps nothing from starting
		if err := c.Check(); err != nil {
			log.Warn("commands to scale will fail until this is mended", "err", err)
		}
	}
	return scaler.New(cfg, backend, log), nil
}

func newBackend(c config.Scaling) (scaler.Backend, error) {
	first, last, err := config.Instances(c.Instances)
	if err != nil {
		return nil, err
	}
	check := health.Check(c.Health)
	switch h := c.HAProxy; c.Backend {
	case "haproxy":
		if h.Socket == "" || h.Backend == "" || h.Prefix == "" || h.Address == "" {
			return nil, errors.New("give scaling.haproxy.socket, backend, prefix and address")
		}
		launcher, err := newLauncher(c)
		return haproxy.New(haproxy.Config{
			Socket: h.Socket, Backend: h.Backend, Prefix: h.Prefix, Address: h.Address, Options: h.Options, First: first, Last: last,
		}, check, launcher), err
	case "systemd":
		if c.Unit == "" {
			return nil, errors.New("give scaling.unit, like bank-backend@.service")
		}
		return units.Pool{Unit: units.Template(c.Unit), First: first, Last: last, Health: check}, nil
	case "kubernetes":
		k := c.Kubernetes
		return kube.New(k.Workload, k.Namespace, kube.Credentials{Kubeconfig: k.Kubeconfig, Context: k.Context})
	case "exec":
		return execPool(c.Exec)
	}
	return nil, errors.New("there is none of that name")
}

func newLauncher(c config.Scaling) (haproxy.Launcher, error) {
	switch {
	case c.Unit != "" && c.Start+c.Stop != "":
		return nil, errors.New("give scaling.unit, or scaling.start and scaling.stop, not both")
	case c.Unit != "":
		return units.Template(c.Unit), nil
	case c.Start == "" || c.Stop == "":
		return nil, errors.New("give what starts servers: scaling.unit, or scaling.start and scaling.stop")
	}
	return command.Launcher{Starter: program(c.Exec, c.Start), Stopper: program(c.Exec, c.Stop)}, checkLimit(c.Exec)
}

func program(c config.Exec, list string) command.Command {
	return command.Command{Argv: config.Words(list), Env: config.Words(c.Env), Limit: c.Limit}
}

func execPool(c config.Exec) (scaler.Backend, error) {
	if c.Up == "" || c.Down == "" || c.Count == "" {
		return nil, errors.New("give scaling.exec.up, scaling.exec.down and scaling.exec.count")
	}
	return command.Pool{Up: program(c, c.Up), Down: program(c, c.Down), Count: program(c, c.Count)}, checkLimit(c)
}

func checkLimit(c config.Exec) error {
	if c.Limit <= 0 {
		return fmt.Errorf("scaling.exec.limit %v: give a time above 0, like 1m", c.Limit)
	}
	return nil
}
