package scaler

import (
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	good := Config{Min: 1, Max: 4, CoolDown: time.Minute, Within: time.Minute}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Min = 0 }, "scaling.min 0"},
		{func(c *Config) { c.Min = 5 }, "scaling.max 4"},
		{func(c *Config) { c.Max = 101 }, "scaling.max 101"},
		{func(c *Config) { c.CoolDown = -1 }, "scaling.cool-down"},
		{func(c *Config) { c.Within = 0 }, "scaling.within"},
	} {
		bad := good
		c.change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestClockSetBack(t *testing.T) {
	c := Config{Min: 1, Max: 4, CoolDown: time.Minute, Within: time.Minute}
	now := time.Unix(1_800_000_000, 0)
	for ago, ok := range map[time.Duration]bool{59 * time.Second: false, time.Minute: true, -time.Second: true, -24 * time.Hour: true} {
		if _, err := c.decide(now, now.Add(-ago), 2, 1); (err == nil) != ok {
			t.Errorf("changed %v ago: %v", ago, err)
		}
	}
}
