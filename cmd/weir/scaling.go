package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/scaler"
	"github.com/weir-sensor/weir/pkg/scaler/command"
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
	return scaler.New(cfg, backend, log), nil
}

func newBackend(c config.Scaling) (scaler.Backend, error) {
	switch c.Backend {
	case "exec":
		return execPool(c.Exec)
	}
	return nil, errors.New("there is none of that name")
}

func execPool(c config.Exec) (scaler.Backend, error) {
	if c.Up == "" || c.Down == "" || c.Count == "" {
		return nil, errors.New("give scaling.exec.up, scaling.exec.down and scaling.exec.count")
	}
	program := func(list string) command.Command {
		return command.Command{Argv: config.Words(list), Env: config.Words(c.Env), Limit: c.Limit}
	}
	return command.Pool{Up: program(c.Up), Down: program(c.Down), Count: program(c.Count)}, checkLimit(c)
}

func checkLimit(c config.Exec) error {
	if c.Limit <= 0 {
		return fmt.Errorf("scaling.exec.limit %v: give a time above 0, like 1m", c.Limit)
	}
	return nil
}
