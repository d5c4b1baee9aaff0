package config_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/monitor"
)

// The defaults stand here and where they are used: they must not drift apart.
func TestDefaultsAreTheComponents(t *testing.T) {
	c := config.Default()
	if got := (datapath.Limit{Rate: c.Limit.Rate, Burst: c.Limit.Burst}); got != datapath.DefaultLimit {
		t.Errorf("limit %+v, want %+v", got, datapath.DefaultLimit)
	}
	if c.BPFFS != datapath.DefaultBPFFS || c.Sensor.Sources != datapath.DefaultSources {
		t.Errorf("bpffs %s, sources %d", c.BPFFS, c.Sensor.Sources)
	}
	if c.Lists.Ceiling != datapath.DefaultCeiling {
		t.Errorf("ceiling %d", c.Lists.Ceiling)
	}
	settable := 2 // Root and Interval follow from other settings
	for _, s := range config.Settings {
		if strings.HasPrefix(s.Key, "monitor.") {
			settable++
		}
	}
	if fields := reflect.TypeFor[monitor.Config]().NumField(); fields != settable {
		t.Errorf("%d of the monitor's %d fields can be set", settable, fields)
	}
}

func TestDefaultManagementPorts(t *testing.T) {
	ports, err := config.Ports(config.Default().ManagementPorts)
	if err != nil || !slices.Equal(ports, datapath.DefaultManagementPorts) {
		t.Errorf("%v, %v", ports, err)
	}
}
