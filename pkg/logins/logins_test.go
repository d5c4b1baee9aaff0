package logins

import (
	"context"
	"net/netip"
	"os"
	"slices"
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

// Without the privilege to look, it says so instead of finding nobody.
func TestWithoutPrivilege(t *testing.T) {
	te.Root(t)
	if os.Getenv("WEIR_TEST_UNPRIVILEGED") != "" {
		all, err := New("/proc").Addresses()
		t.Logf("found %v, error: %v", all, err)
		return
	}
	te.Tool(t, "setpriv")
	server, _ := te.Pair(t)
	te.StartSSHD(t, server, 2222)
	cmd := server.Command(t.Context(), "setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", os.Args[0],
		"-test.run=^TestWithoutPrivilege$", "-test.v")
	cmd.Env = append(os.Environ(), "WEIR_TEST_UNPRIVILEGED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "found [], error: look for SSH sessions") || !strings.Contains(string(out), "CAP_SYS_PTRACE") {
		t.Errorf("%v: %s", err, out)
	}
}
