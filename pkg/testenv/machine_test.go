package testenv

import (
	"strings"
	"testing"
	"time"
)

func TestMachine(t *testing.T) {
	a, b := Pair(t)
	m := Boot(t, a, BootOptions{Binds: []string{repository(t) + "/scripts:/mnt:ro"}})
	if out := m.Run(t, time.Minute, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME; hostname; ls /mnt/debian; stat -fc %T /sys/fs/bpf"); out != "bookworm\na\n/mnt/debian\nbpf_fs\n" {
		t.Errorf("the machine says %q", out)
	}
	b.Run(t, "ping", "-c", "1", "-W", "5", a.IPv4.String())
	up := OpenUplink(t, a, "eth9")
	if out := m.Run(t, time.Minute, "ip", "-br", "addr", "show", "eth9"); !strings.Contains(out, "10.0.2.100") {
		t.Errorf("the uplink: %s", out)
	}
	up.Close()
	if a.Command(t.Context(), "ip", "route", "get", uplinkDNS).Run() == nil {
		t.Error("the uplink is still there")
	}
}
