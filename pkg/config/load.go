package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// FileEnv names the YAML file where no --config does; empty, it says that none is to be read.
const FileEnv = envPrefix + "CONFIG"

// DefaultFile is read where nobody names another, if it's there and may be read.
const DefaultFile = "/etc/weir/weir.yaml"

// stateEnv is systemd's, for a service with a StateDirectory= of its own: what a component keeps is there by default.
const (
	stateEnv     = "STATE_DIRECTORY"
	defaultState = "/var/lib/weir"
)

// delimiter doesn't occur in keys: koanf is to keep them whole, so that a section can't shadow what is in it.
const delimiter = "/"

// Load merges the defaults, a YAML file ("" for the one that FileEnv names, or else DefaultFile), the environment as os.Environ
// gives it, and the flags that were set. An error is one line that names the layer, the key and the mend.
func Load(fs *pflag.FlagSet, file string, environ []string) (*Config, error) {
	l := loader{k: koanf.New(delimiter), given: map[string]string{}}
	if file == "" {
		file = l.fileOf(environ)
	}
	for _, layer := range []func() error{
		func() error {
			state, _ := lookup(environ, stateEnv)
			return l.defaults(state)
		},
		func() error { return l.file(file) },
		func() error { return l.environment(environ) },
		func() error { return l.flags(fs) },
	} {
		if err := layer(); err != nil {
			return nil, err
		}
	}

	c := &Config{Warnings: l.warnings, given: l.given}
	for i := range Settings {
		Settings[i].assign(c, l.k.Get(Settings[i].Key))
	}
	c.Monitor.Root, c.Monitor.Interval = c.Root(), c.Sensor.Interval
	c.Broker.splitCredentials()
	if fs.Lookup("password-file") != nil { // the others don't connect
		if err := c.Broker.readPassword(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// loader puts one layer on another.
type loader struct {
	k        *koanf.Koanf
	given    map[string]string
	warnings []string
}

// fileOf is the file to read where no flag names one.
func (l *loader) fileOf(environ []string) string {
	if value, given := lookup(environ, FileEnv); given {
		return value
	}
	f, err := os.Open(defaultFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.warnings = append(l.warnings, fmt.Sprintf("the settings in %s don't count here: %s", defaultFile, explainFile(defaultFile, err)))
		}
		return ""
	}
	_ = f.Close() // only read
	return defaultFile
}

// defaultFile is another one in tests.
var defaultFile = DefaultFile

func lookup(environ []string, name string) (value string, given bool) {
	for _, pair := range environ {
		if n, value, _ := strings.Cut(pair, "="); n == name {
			return value, true
		}
	}
	return "", false
}

func (l *loader) defaults(state string) error {
	values, c := map[string]any{}, Default()
	if state, _, _ = strings.Cut(state, ":"); state != "" {
		for _, path := range []*string{&c.Broker.State, &c.Audit.Dir, &c.Web.History} {
			*path = state + strings.TrimPrefix(*path, defaultState)
		}
	}
	for i := range Settings {
		s := &Settings[i]
		value, err := s.parse(format(s.field(c)))
		if err != nil {
			return fmt.Errorf("default of %s: %w", s.Key, err)
		}
		values[s.Key] = value
	}
	return l.k.Load(confmap.Provider(values, ""), nil)
}

func (l *loader) file(path string) error {
	if path == "" {
		return nil
	}
	text, public, err := readFile(path, maxFile)
	if err != nil {
		return fmt.Errorf("configuration %w", err)
	}
	p := &yamlParser{path: path}
	if err := l.k.Load(rawbytes.Provider(text), p); err != nil {
		return err
	}
	for key, line := range p.lines {
		l.given[key] = fmt.Sprintf("line %d of the file", line)
	}
	if public && p.holdsPassword {
		l.warnings = append(l.warnings,
			fmt.Sprintf("%s holds a password and can be read by everybody on this machine: chmod o-r %s", path, path))
	}
	return nil
}

func (l *loader) environment(environ []string) error {
	byEnv := map[string]*Setting{}
	for i := range Settings {
		byEnv[Settings[i].Env] = &Settings[i]
	}
	var wrong error
	provider := env.Provider("", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			s := byEnv[name]
			if name == FileEnv || wrong != nil {
				return "", nil
			}
			if s == nil {
				wrong = unknown("environment", name, func(s *Setting) string { return s.Env })
				return "", nil
			}
			value, err := s.parse(text)
			if err != nil {
				wrong = s.refuse(name, text, err)
				return "", nil
			}
			l.given[s.Key] = name
			return s.Key, value
		},
	})
	return errors.Join(l.k.Load(provider, nil), wrong)
}

func (l *loader) flags(fs *pflag.FlagSet) error {
	return l.k.Load(posflag.ProviderWithFlag(fs, "", nil, func(f *pflag.Flag) (string, any) {
		v := flagOf(f)
		if v == nil || !f.Changed {
			return "", nil
		}
		l.given[v.setting.Key] = "--" + f.Name
		return v.setting.Key, v.value
	}), nil)
}
