package logins

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

const patience = 10 * time.Second

// found are the addresses, in order, that the finder sees in a host.
func found(t *testing.T, h *te.Host) []netip.Addr {
	t.Helper()
	var all []netip.Addr
	h.Do(t, func() {
		var err error
		if all, err = New("/proc").Addresses(); err != nil {
			t.Error(err)
		}
	})
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

func await(t *testing.T, h *te.Host, what string, want ...netip.Addr) {
	t.Helper()
	var got []netip.Addr
	te.Eventually(t, patience, what, func() bool {
		got = found(t, h)
		return slices.Equal(got, want)
	})
}

func TestLogins(t *testing.T) {
	te.Root(t)
	server, client := te.Pair(t)
	sshd := te.StartSSHD(t, server, 2222)

	// What any attacker can do.
	idle, err := client.Dial(context.Background(), "tcp", server.Addr(2222).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	greeted, err := client.Dial(context.Background(), "tcp", server.Addr(2222).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = greeted.Close() }()
	if _, err := greeted.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n")); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"root", "nobody"} {
		sshd.Linger(client, user, server.IPv6)
		te.Eventually(t, patience, "a password being asked for", func() bool {
			return strings.Contains(server.Run(t, "ps", "-eo", "args"), "sshd: "+user+" [net]")
		})
	}
	time.Sleep(300 * time.Millisecond)
	if got := found(t, server); len(got) > 0 {
		t.Errorf("connections without a login count as logins: %v", got)
	}

	shell := sshd.Login(client, "root", server.IPv4, "sleep", "60")
	await(t, server, "a command of root", client.IPv4)
	if got := found(t, client); len(got) > 0 {
		t.Errorf("seen in another network namespace: %v", got)
	}
	forward := sshd.Login(client, "nobody", server.IPv6, "-N")
	await(t, server, "a session without a program", client.IPv4, client.IPv6)
	shell.Stop()
	await(t, server, "a logout", client.IPv6)
	forward.Stop()
	await(t, server, "another logout")
}

// Whoever is logged in can't have others exempt.
func TestLiars(t *testing.T) {
	te.Root(t)
	server, client := te.Pair(t)
	sshd := te.StartSSHD(t, server, 2222)
	server.Start(t, "env", "SSH_CONNECTION=203.0.113.9 5 198.51.100.1 2222", "sleep", "60")
	server.Start(t, "bash", "-c", "exec -a 'sshd: root@pts/0' sleep 60")
	if got := found(t, server); len(got) > 0 {
		t.Errorf("processes that only say so count as logins: %v", got)
	}
	sshd.Login(client, "root", server.IPv4, "SSH_CONNECTION='203.0.113.9 5 198.51.100.1 2222' sleep 60; true")
	await(t, server, "the login", client.IPv4)
	time.Sleep(300 * time.Millisecond)
	if got := found(t, server); !slices.Equal(got, []netip.Addr{client.IPv4}) {
		t.Errorf("found %v", got)
	}
}

func BenchmarkAddresses(b *testing.B) {
	for b.Loop() {
		if _, err := New("/proc").Addresses(); err != nil {
			b.Fatal(err)
		}
	}
}

// Without the privilege to look, and with nobody to ask, it says so instead of finding nobody. A utmp is somebody.
func TestWithoutPrivilege(t *testing.T) {
	te.Root(t)
	if file := os.Getenv("WEIR_TEST_UNPRIVILEGED"); file != "" {
		f := New("/proc")
		f.utmp = file
		all, err := f.Addresses()
		t.Logf("found %v, error: %v", all, err)
		return
	}
	te.Tool(t, "setpriv")
	server, client := te.Pair(t)
	sshd := te.StartSSHD(t, server, 2222)
	sshd.Login(client, "nobody", server.IPv6, "-N")
	await(t, server, "the login", client.IPv6)
	said := func(utmp string) string {
		cmd := server.Command(t.Context(), "setpriv", "--bounding-set=-sys_ptrace,-dac_read_search", "--inh-caps=-sys_ptrace,-dac_read_search", os.Args[0],
			"-test.run=^TestWithoutPrivilege$", "-test.v")
		cmd.Env = append(os.Environ(), "WEIR_TEST_UNPRIVILEGED="+utmp, "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+filepath.Join(t.TempDir(), "bus"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return string(out)
	}
	dir := t.TempDir()
	if out := said(filepath.Join(dir, "none")); !strings.Contains(out, "found [], error: look for SSH sessions: there is no systemd-logind") || !strings.Contains(out, "libpam-systemd") {
		t.Error(out)
	}
	file := filepath.Join(dir, "utmp")
	const other = 1 // its own process is below no sshd
	ended := record(1<<22-1, netip.MustParseAddr("203.0.113.1"))
	all := append(record(session(t, server, "nobody"), client.IPv6), append(record(other, netip.MustParseAddr("203.0.113.2")), ended...)...)
	if err := os.WriteFile(file, all, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := said(file); !strings.Contains(out, "found ["+client.IPv6.String()+"], error: <nil>") {
		t.Error(out)
	}
}

// session is the process of sshd that serves a user.
func session(t *testing.T, h *te.Host, user string) int {
	t.Helper()
	for line := range strings.Lines(h.Run(t, "ps", "-eo", "pid=,args=")) {
		if pid, args, _ := strings.Cut(strings.TrimSpace(line), " "); strings.TrimSpace(args) == "sshd: "+user {
			n, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no session of %s", user)
	return 0
}
