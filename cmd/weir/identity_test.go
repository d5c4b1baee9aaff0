package main

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/trust"
)

func TestEndsSoon(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		15 * 24 * time.Hour: "", 13*24*time.Hour + time.Hour: "sensor-k3v2q2xd ends in 13 days: weir keys rotate sensor-k3v2q2xd", time.Hour: "ends in 0 days", -time.Hour: "ended on",
	} {
		got := endsSoon(trust.Identity{Name: "sensor-k3v2q2xd", NotBefore: now.AddDate(0, 0, -90), NotAfter: now.Add(left)}, now)
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%v left: %q", left, got)
		}
	}
}
