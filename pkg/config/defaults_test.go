package config_test

import (
	"reflect"
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
	mine, theirs := reflect.ValueOf(c.Monitor), reflect.ValueOf(monitor.DefaultConfig())
	for i := range theirs.NumField() {
		name := theirs.Type().Field(i).Name
		if name == "Root" {
			continue
		}
		field := mine.FieldByName(name)
		if !field.IsValid() {
			t.Errorf("the monitor's %s is no setting", name)
		} else if field.Interface() != theirs.Field(i).Interface() {
			t.Errorf("%s is %v, the monitor's %v", name, field, theirs.Field(i))
		}
	}
}
