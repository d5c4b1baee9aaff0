package logins

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// record is one of utmp's, as sshd writes it.
func record(pid int, from netip.Addr) []byte {
	size, address := layout()
	r := make([]byte, size)
	binary.NativeEndian.PutUint16(r, userProcess)
	binary.NativeEndian.PutUint32(r[utmpPID:], uint32(pid))
	copy(r[8:], "pts/0")
	copy(r[utmpHost:], "admin.example")
	copy(r[address:], from.AsSlice())
	return r
}

func TestEntries(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	mapped := netip.MustParseAddr("::ffff:192.0.2.8")
	ended := record(9, four)
	binary.NativeEndian.PutUint16(ended, 8) // DEAD_PROCESS
	all := slices.Concat(record(1, four), record(2, six), ended, record(3, netip.IPv6Unspecified()), record(4, mapped), record(0, four), record(5, four)[:100])
	want := []entry{{1, "admin.example", four}, {2, "admin.example", six}, {4, "admin.example", mapped.Unmap()}}
	if got := entries(all); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte{})
	f.Add(record(1, netip.MustParseAddr("192.0.2.7")))
	f.Add(append(record(1<<31, netip.MustParseAddr("2001:db8::7")), 1, 2, 3))
	f.Fuzz(func(t *testing.T, utmp []byte) {
		size, _ := layout()
		found := entries(utmp)
		if len(found) > len(utmp)/size {
			t.Errorf("%d logins in %d bytes", len(found), len(utmp))
		}
		for _, e := range found {
			if e.pid <= 0 || !e.from.IsValid() || e.from.IsUnspecified() || e.from.Is4In6() {
				t.Errorf("%+v", e)
			}
		}
	})
}

// What counts as a session of SSH, whatever else logind knows.
func TestRemote(t *testing.T) {
	properties := func(change map[string]any) map[string]dbus.Variant {
		p := map[string]dbus.Variant{}
		for name, v := range map[string]any{"Id": "c1", "Remote": true, "Service": "sshd", "State": "active", "RemoteHost": "192.0.2.7"} {
			p[name] = dbus.MakeVariant(v)
		}
		for name, v := range change {
			p[name] = dbus.MakeVariant(v)
		}
		return p
	}
	for _, c := range []struct {
		change map[string]any
		want   string
		ok     bool
	}{
		{nil, "192.0.2.7", true},
		{map[string]any{"State": "online", "RemoteHost": "bastion.bank.example"}, "bastion.bank.example", true},
		{map[string]any{"State": "closing"}, "", false},
		{map[string]any{"Remote": false}, "", false},
		{map[string]any{"Remote": "yes"}, "", false},
		{map[string]any{"Service": "cron"}, "", false},
		{map[string]any{"RemoteHost": 7}, "", true},
	} {
		if host, ok := remote(properties(c.change)); ok != c.ok || host != c.want {
			t.Errorf("%v: %q, %v", c.change, host, ok)
		}
	}
}

func TestMerge(t *testing.T) {
	at := netip.MustParseAddr
	records := []entry{{1, "bastion.bank.example", at("192.0.2.9")}, {2, "192.0.2.7", at("192.0.2.7")}}
	got, err := merge([]string{"192.0.2.7", "::ffff:192.0.2.7", "fe80::1%eth0", "bastion.bank.example"}, records)
	if want := []netip.Addr{at("192.0.2.7"), at("fe80::1"), at("192.0.2.9")}; !slices.Equal(got, want) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, name := range []string{"elsewhere.example", ""} { // by no address: it must be said
		if got, err := merge([]string{name}, records); len(got) != 2 || err == nil || !strings.Contains(err.Error(), "UseDNS no") {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}
