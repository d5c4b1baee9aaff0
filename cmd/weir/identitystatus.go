package main

import (
	"fmt"
	"io"
	"time"

	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/keys"
)

// identityStatus is what weir status tells of an identity that is used here.
type identityStatus struct {
	Name    string     `json:"name,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Warning string     `json:"warning,omitempty"`
}

// identitiesOf are those that the settings name.
func identitiesOf(cfg *config.Config, now time.Time) []identityStatus {
	var all []identityStatus
	for _, dir := range identityDirs(cfg.Broker.Identity) {
		k, err := keys.Load(dir, cfg.Broker.Trust)
		if err != nil {
			all = append(all, identityStatus{Warning: err.Error()})
			continue
		}
		all = append(all, identityStatus{k.Name, &k.NotAfter, endsSoon(k.Identity, now)})
	}
	return all
}

func (s status) printIdentities(w io.Writer) error {
	for _, id := range s.Identities {
		text := id.Warning
		if text == "" {
			text = id.Name + ", good until " + id.Until.Format(time.DateOnly)
		}
		if _, err := fmt.Fprintf(w, "identity   %s\n", text); err != nil {
			return err
		}
	}
	return nil
}
