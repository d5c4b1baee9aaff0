package testenv

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// SSHD is a running sshd of a host, with a configuration and keys of its own. The machine's is left alone.
type SSHD struct {
	Host *Host
	Port uint16
	dir  string
	t    testing.TB
}

// StartSSHD starts an sshd on a port of a host, which lets root in, and any other user with a valid account, by a key that
// the test owns.
func StartSSHD(t testing.TB, h *Host, port uint16) *SSHD {
	t.Helper()
	Tool(t, "sshd", "ssh", "ssh-keygen")
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where Debian's sshd confines itself; its service makes it
		t.Fatal(err)
	}
	// Not t.TempDir, whose parents other users can't enter: sshd reads keys as the user.
	dir, err := os.MkdirTemp("/run", unique())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &SSHD{h, port, dir, t}
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path("host"))
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path("user"))
	key, err := os.ReadFile(s.path("user.pub"))
	if err != nil {
		t.Fatal(err)
	}
	// SHLVL keeps bash from reading the machine's start-up files.
	for name, text := range map[string]string{
		"keys": string(key),
		"config": fmt.Sprintf("Port %d\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nUsePAM no\nStrictModes no\n"+
			"PermitRootLogin prohibit-password\nPasswordAuthentication yes\nSetEnv SHLVL=2\n", port, s.path("host"), s.path("keys")),
		"askpass": "#!/bin/sh\nexec sleep 60\n",
	} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := lookPath("sshd") // which wants to be called by its whole path
	if err != nil {
		t.Fatal(err)
	}
	h.Start(t, path, "-D", "-e", "-f", s.path("config")).Await(t, "Server listening on 0.0.0.0", 10*time.Second)
	return s
}

func (s *SSHD) path(name string) string { return filepath.Join(s.dir, name) }

func (s *SSHD) args(user string, to netip.Addr, more ...string) []string {
	return append([]string{"-i", s.path("user"), "-p", fmt.Sprint(s.Port), "-F", "none", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", user + "@" + to.String()}, more...)
}

// Login logs a user in from another host by key; more is a command, or flags of ssh.
func (s *SSHD) Login(from *Host, user string, to netip.Addr, more ...string) *Process {
	s.t.Helper()
	return from.Start(s.t, "ssh", s.args(user, to, more...)...)
}

// Linger connects as ssh does, and stays where the password is asked for.
func (s *SSHD) Linger(from *Host, user string, to netip.Addr) *Process {
	s.t.Helper()
	cmd := from.Command(s.t.Context(), "ssh", append([]string{"-o", "PreferredAuthentications=password"}, s.args(user, to, "true")...)...)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS="+s.path("askpass"), "DISPLAY=:0")
	return from.StartCmd(s.t, cmd)
}
