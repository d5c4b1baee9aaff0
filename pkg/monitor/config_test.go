package monitor

import (
	"strings"
	"testing"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfigValidateNamesTheKey(t *testing.T) {
	for _, c := range []struct {
		want  string
		spoil func(*Config)
	}{
		{"cpu_usage threshold", func(c *Config) { c.CPUThreshold = 0 }},
		{"syn_packet_count threshold", func(c *Config) { c.SYNThreshold = -1 }},
		{"clear ratio", func(c *Config) { c.ClearRatio = 1.1 }},
		{"raise samples", func(c *Config) { c.RaiseSamples = 4 }},
		{"spike factor", func(c *Config) { c.SpikeFactor = 1 }},
		{"spike floor", func(c *Config) { c.SYNFloor = 0 }},
		{"remind every", func(c *Config) { c.RemindEvery = 0 }},
		{"calm", func(c *Config) { c.Calm = 0 }},
		{"status timeout", func(c *Config) { c.StatusTimeout = -1 }},
		{"origin", func(c *Config) { c.Origin = "controller" }},
		{`org "public"`, func(c *Config) { c.Root.Org = "public" }},
		{"server is empty", func(c *Config) { c.Root.Server = "" }},
	} {
		cfg := DefaultConfig()
		c.spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q named", err, c.want)
		}
	}
}
