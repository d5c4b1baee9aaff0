package main

import (
	"os"
	"strings"
	"testing"
)

// TestUnloadNeedsNoSettings: whoever wants weir gone must not have to mend its settings first.
func TestUnloadNeedsNoSettings(t *testing.T) {
	s := newSite(t)
	s.start("broker") // else the sensor would wait for one
	broken := s.write("broken.yaml", "nonsense: [", 0o600)
	unknown := s.write("unknown.yaml", "bpfs: /x\nmanagement-ports: many\n", 0o600)
	for _, c := range []struct {
		flags, environ []string
		from           string
	}{
		{[]string{"--config", broken}, nil, "every interface"},
		{[]string{"--config", unknown, "--interface", s.Bank.Interface}, nil, s.Bank.Interface},
		{nil, []string{"WEIR_LIMIT_RATE=many"}, "every interface"},
		{[]string{"--interface", "a,a"}, nil, "every interface"},
	} {
		sensor := s.start("sensor")
		args := append([]string{"unload", "--bpffs", s.bpffs}, c.flags...)
		cmd := s.Bank.Command(t.Context(), binary, args...)
		cmd.Env = append(os.Environ(), c.environ...)
		var out, warning strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &warning
		if err := cmd.Run(); err != nil || out.String() != "unloaded from "+c.from+"\n" {
			t.Errorf("%v: %v: %s%s", args, err, &out, &warning)
		}
		if text := warning.String(); !strings.HasPrefix(text, "weir: unloading from "+c.from+" without settings: ") || strings.Count(text, "\n") != 1 {
			t.Errorf("%v: said %q", args, text)
		}
		if err := sensor.Wait(patience); err == nil {
			t.Error("the sensor goes on")
		}
		s.nothingIsLeft()
	}
}
