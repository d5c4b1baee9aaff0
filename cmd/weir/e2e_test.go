package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// binary is weir itself, built with the race detector for tests and without for benchmarks.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "weir-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		os.Setenv("WEIR_CONFIG", "") // this machine's settings are none of the tests'
		if os.Getenv("GORACE") == "" {
			os.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each command that ends, else
		}
		if binary = os.Getenv("BINARY"); binary != "" { // where there is no compiler: see scripts/vm
			return m.Run()
		}
		binary = filepath.Join(dir, "weir")
		args := []string{"build", "-o", binary}
		if raceEnabled {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, ".")...)
		if !raceEnabled { // static, as it is shipped
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build weir: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

const (
	brokerAddr = "127.0.0.1:1883"
	root       = "<103795587>/bank_server"
)

// patience is for what takes milliseconds on an idle machine, and seconds on a busy one or where QEMU translates each instruction.
var patience = func() time.Duration {
	if os.Getenv("VM") != "" {
		return 2 * time.Minute
	}
	return 40 * time.Second
}()

// site is a bank with its customer and its attacker.
type site struct {
	t testing.TB
	*te.BankNet
	bpffs string
	dir   string
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t, te.Bank(t), te.PinDir(t), t.TempDir()}
	t.Cleanup(func() { s.Bank.Do(t, func() { _, _ = datapath.UnloadAll(s.bpffs) }) })
	return s
}

// args are those of a component in the bank.
func (s *site) args(command string, flags ...string) []string {
	args := append([]string{}, strings.Fields(command)...)
	switch args[0] {
	case "up", "sensor", "controller", "status", "top", "unload":
		args = append(args, "--bpffs", s.bpffs, "--interface", s.Bank.Interface)
	}
	if args[0] == "up" {
		args = append(args, "--web-history", s.history())
	}
	if args[0] == "up" || args[0] == "controller" || args[0] == "web" && len(args) == 1 {
		args = append(args, "--audit-dir", s.dir)
	}
	if args[0] == "up" || args[0] == "controller" {
		args = append(args, "--state", s.dir)
	}
	return append(args, flags...)
}

// history is a file of the site's own for the page.
func (s *site) history() string { return filepath.Join(s.dir, "history.db") }

// start starts a component in the bank and waits until it is ready.
func (s *site) start(command string, flags ...string) *te.Process {
	s.t.Helper()
	p := s.Bank.Start(s.t, binary, s.args(command, flags...)...)
	p.Await(s.t, "msg=ready", patience)
	return p
}

// weir runs a command in the bank to its end.
func (s *site) weir(command string, flags ...string) (out string, status int) {
	s.t.Helper()
	cmd := s.Bank.Command(s.t.Context(), binary, s.args(command, flags...)...)
	b, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// mustWeir demands exit status 0.
func (s *site) mustWeir(command string, flags ...string) string {
	s.t.Helper()
	out, status := s.weir(command, flags...)
	if status != 0 {
		s.t.Fatalf("weir %s: exit status %d: %s", command, status, out)
	}
	return out
}

// serve runs a web server in the bank.
func (s *site) serve() {
	s.t.Helper()
	l := s.Bank.Listen(s.t, s.Bank.Addr(80))
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { _ = srv.Serve(l) }()
	s.t.Cleanup(func() { _ = srv.Close() })
}

// reader opens the datapath of the bank.
func (s *site) reader() *datapath.Reader {
	s.t.Helper()
	var r *datapath.Reader
	var err error
	s.Bank.Do(s.t, func() { r, err = datapath.OpenReader(s.bpffs, s.Bank.Interface) })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = r.Close() })
	return r
}

// counters are the SYNs that came, and those that were dropped for their source's rate or answered by a cookie for cause.
func counters(t testing.TB, r *datapath.Reader) (offered, stopped uint64) {
	t.Helper()
	c, err := r.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c.Offered(datapath.ClassSYN).Packets, c.Total(datapath.VerdictDrop, datapath.ReasonSourceRate).Packets +
		c.Total(datapath.VerdictTX, datapath.ReasonUnverified).Packets
}

// rising waits until a number has risen.
func rising(t testing.TB, what string, value func() uint64) {
	t.Helper()
	before := value()
	te.Eventually(t, patience, what+" rising", func() bool { return value() > before })
}

func dropped(t testing.TB, r *datapath.Reader) func() uint64 {
	return func() uint64 { _, n := counters(t, r); return n }
}

func offered(t testing.TB, r *datapath.Reader) func() uint64 {
	return func() uint64 { n, _ := counters(t, r); return n }
}

// is matches messages on a topic below the root whose payload holds all parts, in weir's own spelling.
func is(topic string, parts ...string) func(te.Message) bool {
	return func(m te.Message) bool {
		if m.Topic != root+"/"+topic {
			return false
		}
		for _, p := range parts {
			if !strings.Contains(string(m.Payload), p) {
				return false
			}
		}
		return true
	}
}

// since narrows a match to what came after a moment.
func since(at time.Time, match func(te.Message) bool) func(te.Message) bool {
	return func(m te.Message) bool { return m.At.After(at) && !m.Retained && match(m) }
}

func decode[T any](t testing.TB, m te.Message) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(m.Payload, &v); err != nil {
		t.Fatalf("%s: %v: %s", m.Topic, err, m.Payload)
	}
	return v
}

// order publishes a command by mosquitto_pub and waits for its status.
func (s *site) order(o *te.Observer, payload string, parts ...string) wire.Status {
	s.t.Helper()
	start := time.Now()
	te.Publish(s.t, s.Bank, brokerAddr, root+"/control/command", []byte(payload))
	m := o.Await(s.t, patience, fmt.Sprintf("status with %q on %s", parts, payload), since(start, func(m te.Message) bool {
		return is("status/rate_limiting", parts...)(m) || is("status/scaling", parts...)(m)
	}))
	return decode[wire.Status](s.t, m)
}

// nothingIsLeft demands that weir unload removed all.
func (s *site) nothingIsLeft() {
	s.t.Helper()
	entries, err := os.ReadDir(s.bpffs)
	if err != nil || len(entries) > 0 {
		s.t.Errorf("left in bpffs: %v, %v", entries, err)
	}
	if out := s.Bank.Run(s.t, "ip", "link", "show", "dev", s.Bank.Interface); strings.Contains(out, "xdp") {
		s.t.Errorf("still attached: %s", out)
	}
}
