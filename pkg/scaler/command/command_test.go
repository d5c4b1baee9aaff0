package command

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/testenv"
)

func sh(script string) Command {
	return Command{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"A=b c"}, Limit: 10 * time.Second}
}

func TestRun(t *testing.T) {
	for _, c := range []struct{ script, more, out, err string }{
		{`echo hi; echo ho >&2`, "", `hi\nho`, ""},
		{`echo "$A $B $HOME-$PATH"; pwd`, "B=x;y", `b c x;y -/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/`, ""},
		{`echo no luck; exit 3`, "", "", "/bin/sh: exit status 3; it printed: no luck"},
		{`printf '\033[2J\377\000x'; exit 1`, "", "", `\u001b[2J?\u0000x`},
		{`yes | head -c 100000; exit 1`, "", "", `it printed: … y\ny`},
		{`kill -9 $$`, "", "", "signal: killed"},
	} {
		out, err := sh(c.script).Run(t.Context(), c.more)
		if out != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v", c.script, out, err)
		}
		if err != nil && len(err.Error()) > 3000 {
			t.Errorf("%s: %d bytes", c.script, len(err.Error()))
		}
	}
	if _, err := (Command{Argv: []string{"/nowhere/x"}, Limit: time.Second}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "/nowhere/x") {
		t.Error(err)
	}
}

// TestMain is the test again, as a user with capabilities.
func TestMain(m *testing.M) {
	if os.Getenv("WEIR_TEST_CAPABILITIES") == "" {
		os.Exit(m.Run())
	}
	out, err := sh(`grep -E "^Cap(Prm|Eff|Amb)" /proc/self/status; grep ^CapEff /proc/$PPID/status`).Run(context.Background())
	fmt.Print(out, err)
}

// TestNoCapabilities: those that weir's unit gives to weir are not for what it runs.
func TestNoCapabilities(t *testing.T) {
	testenv.Root(t)
	dir, err := os.MkdirTemp("", "weir-") // a test's own is root's alone
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if out, err := exec.Command("sh", "-c", `chmod 755 $0 && cp /proc/$PPID/exe $0/test`, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(filepath.Join(dir, "test"))
	cmd.Env = []string{"WEIR_TEST_CAPABILITIES=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_DAC_READ_SEARCH, unix.CAP_NET_ADMIN},
	}
	out, err := cmd.CombinedOutput()
	none := strings.Repeat("0", 16)
	want := `CapPrm:\t` + none + `\nCapEff:\t` + none + `\nCapAmb:\t` + none + `\nCapEff:\t0000000000001004`
	if got := strings.TrimSuffix(string(out), "<nil>"); err != nil || got != want {
		t.Errorf("%v: %s, want %s", err, got, want)
	}
}

// TestNoShell: arguments are arguments.
func TestNoShell(t *testing.T) {
	c := Command{Argv: []string{"/bin/echo", "$(id)", "a;b", "*"}, Limit: time.Second * 10}
	if out, err := c.Run(t.Context()); out != "$(id) a;b *" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// TestTimeLimit demands that what a program has started goes with it.
func TestTimeLimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "child")
	c := sh(`sleep 1000 & echo $! > ` + file + `.new; mv ` + file + `.new ` + file + `; echo begun; wait`)
	c.Limit = 500 * time.Millisecond
	for _, ctx := range []string{"limit", "context"} {
		run, cancel := context.WithCancel(t.Context())
		want := "killed: not done within its time (500ms at most); it printed: begun"
		if ctx == "context" {
			c.Limit, want = time.Minute, "killed: context canceled; it printed: begun"
			go func() {
				for child(t, file) == 0 {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(200 * time.Millisecond) // for the echo
				cancel()
			}()
		}
		_, err := c.Run(run)
		cancel()
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", ctx, err)
		}
		pid := child(t, file)
		for end := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: its child, %d, lives", ctx, pid)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func child(t *testing.T, file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Error(err)
	}
	return pid
}

// alive tells it of a process that isn't a zombie.
func alive(pid int) bool {
	if pid == 0 || syscall.Kill(pid, 0) != nil {
		return false
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// TestServerStaysBehind: what a program leaves running is a server, and neither waited for nor killed.
func TestServerStaysBehind(t *testing.T) {
	began := time.Now()
	out, err := sh(`sleep 1000 & echo $!`).Run(t.Context())
	if err != nil || time.Since(began) > 8*time.Second {
		t.Fatalf("%v after %v", err, time.Since(began))
	}
	pid, err := strconv.Atoi(out)
	if err != nil || !alive(pid) {
		t.Errorf("%q: %v", out, err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestPool(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "n")
	if err := os.WriteFile(file, []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Pool{Count: sh("cat " + file), Up: sh("echo $WEIR_SERVERS > " + file), Down: sh("echo $WEIR_SERVERS > " + file + "; echo from $WEIR_SERVERS_BEFORE")}
	for _, c := range []struct {
		to     int
		detail string
	}{{3, "/bin/sh has done it"}, {1, "from 3"}, {1, "from 1"}} {
		if got, err := p.Resize(t.Context(), c.to); got != c.detail || err != nil {
			t.Errorf("to %d: %q, %v", c.to, got, err)
		}
		if n, err := p.Size(t.Context()); n != c.to || err != nil {
			t.Errorf("to %d: %d, %v", c.to, n, err)
		}
	}
	p.Up = sh("true")
	if _, err := p.Resize(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "ended with status 0, but /bin/sh counts 1 servers instead of 2") {
		t.Errorf("a liar is believed: %v", err)
	}
	for _, text := range []string{"", "many", "-1", "1 2", "99999999999"} {
		p.Count = sh("echo '" + text + "'")
		if n, err := p.Size(t.Context()); err == nil || !strings.Contains(err.Error(), "want a number of servers alone") {
			t.Errorf("%q counts as %d: %v", text, n, err)
		}
	}
}

// TestDiesWithWeir runs this test in a process of its own, which is killed.
func TestDiesWithWeir(t *testing.T) {
	file := os.Getenv("WEIR_TEST_CHILD")
	if file != "" {
		_, err := sh("echo $$ > " + file + ".new; mv " + file + ".new " + file + "; exec sleep 1000").Run(t.Context())
		t.Error(err)
		return
	}
	file = filepath.Join(t.TempDir(), "child")
	weir := exec.Command(os.Args[0], "-test.run=^TestDiesWithWeir$")
	weir.Env = append(os.Environ(), "WEIR_TEST_CHILD="+file)
	if err := weir.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = weir.Wait() }()
	for child(t, file) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := weir.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); alive(child(t, file)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the program lives on")
		}
	}
}
