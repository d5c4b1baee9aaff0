package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// browsing is how long a browser test may take; the longest takes half a minute on an idle machine.
const browsing = 3 * time.Minute

// browse runs a browser test in the bank, and does what it asks for.
func (s *site) browse(scenario string, does map[string]func(), env ...string) {
	s.t.Helper()
	s.browseWith(func(line string) { s.t.Log(line) }, scenario, does, env...)
}

// browseWith hands over each line that asks for nothing.
func (s *site) browseWith(says func(line string), scenario string, does map[string]func(), env ...string) {
	s.t.Helper()
	te.Tool(s.t, "node", "chromium", "mosquitto_pub")
	script, err := filepath.Abs("../../pkg/web/page/test/" + scenario + ".mjs")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), browsing)
	defer cancel()
	cmd := s.Bank.Command(ctx, "node", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), env...)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		name, asks := strings.CutPrefix(lines.Text(), "@")
		if !asks {
			says(lines.Text())
			continue
		}
		answer := "done\n"
		if does[name] == nil {
			answer = "unknown\n"
		} else {
			does[name]()
		}
		if _, err := io.WriteString(in, answer); err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		s.t.Fatalf("%s: %v\n%s", scenario, err, said.String())
	}
}

func TestPageShowsWhatComes(t *testing.T) {
	s := newSite(t)
	broker := te.Mosquitto(t, s.Bank) // takes a message of 1 MB, other than the embedded one
	s.start("web", "--web-history", s.history(), "--broker", "tcp://"+broker)
	const bare = "127.0.0.1:8081"
	s.start("web", "--web-history", "", "--web-listen", bare, "--audit-dir", "", "--broker", "tcp://"+broker)
	s.browse("tabs", nil, fmt.Sprint("PAGE_BROKER_PORT=", netip.MustParseAddrPort(broker).Port()), "PAGE_BARE_URL=http://"+bare)
}

func TestPageUnderFlood(t *testing.T) {
	s := newSite(t)
	s.serve()
	s.start("broker")
	s.start("sensor", "--sensor-interval", "1s")
	controller := s.start("controller")
	const busy = "--monitor-cpu-threshold=100" // so is the machine, at times, and that isn't the matter here
	s.start("monitor", "--sensor-interval", "1s", busy)
	s.start("web", "--web-history", s.history(), "--sensor-interval", "1s", busy)
	r := s.reader()
	enforcing := func(want bool) func() {
		return func() {
			te.Eventually(t, patience, "the control map", func() bool {
				c, err := r.Control()
				return err == nil && c.Enforcing() == want
			})
		}
	}
	s.browse("flood", map[string]func(){
		"flood":     func() { te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 5000}) },
		"enforcing": enforcing(true),
		"observing": enforcing(false),
		"blocked": func() {
			rising(t, "packets dropped for the block", func() uint64 {
				c, err := r.Counters()
				if err != nil {
					t.Fatal(err)
				}
				return c.Total(datapath.VerdictDrop, datapath.ReasonBlocked).Packets
			})
		},
		"unblocked": func() {
			if out := s.mustWeir("status", "--lists"); strings.Contains(out, "from the page") { // the block's reason
				t.Error(out)
			}
		},
		"kill controller": controller.Kill,
	})
}

func TestPageThroughOutages(t *testing.T) {
	s := newSite(t)
	history := s.history()
	parts := map[string]*te.Process{}
	does := map[string]func(){}
	for name, flags := range map[string][]string{
		"broker": nil, "sensor": {"--sensor-interval", "1s"},
		"web": {"--web-history", history, "--sensor-interval", "1s", "--web-watch", "bank/+/+", "--monitor-cpu-threshold=100"},
	} {
		does["start "+name] = func() { parts[name] = s.start(name, flags...) }
		does["kill "+name] = func() { parts[name].Kill() }
		does["freeze "+name] = func() { parts[name].Signal(syscall.SIGSTOP) }
		does["thaw "+name] = func() { parts[name].Signal(syscall.SIGCONT) }
	}
	for _, name := range []string{"broker", "sensor", "web"} {
		does["start "+name]()
	}
	s.browse("outage", does)
}

func TestPageUnderLoad(t *testing.T) {
	s := newSite(t)
	s.start("broker")
	s.start("web", "--web-history", s.history())
	s.browse("load", nil)
}

// A page that can't be served takes nothing else with it.
func TestNoPageNoHarm(t *testing.T) {
	s := newSite(t)
	l := s.Bank.Listen(t, netip.MustParseAddrPort("127.0.0.1:8080"))
	p := s.start("up", "--web-listen", l.Addr().String())
	p.Await(t, "no page: everything else goes on", patience)
	s.mustWeir("ctl enable-rate-limiting")
	p.Signal(syscall.SIGTERM)
	if err := p.Wait(patience); err != nil {
		t.Error(err)
	}
	if out, status := s.weir("web", "--web-history", s.history(), "--web-listen", l.Addr().String()); status != 1 || !strings.Contains(out, "web.listen") {
		t.Errorf("weir web: status %d, %s", status, out)
	}
	out, err := exec.Command(binary, "web", "--web-listen", "0.0.0.0:8080").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "beyond loopback") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

// certificate makes a self-signed one for a name.
func certificate(t *testing.T, host string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
		"-subj", "/CN=weir", "-addext", "subjectAltName=DNS:"+host, "-keyout", key, "-out", cert).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	return cert, key
}

// People sign in from the customer's host, by TLS.
func TestPageAsksWhoYouAre(t *testing.T) {
	te.Tool(t, "openssl")
	s := newSite(t)
	users := filepath.Join(t.TempDir(), "users.yaml")
	var people [][3]string
	for name, role := range map[string]string{"alice": "operator", "bob": "viewer"} {
		cmd := exec.Command(binary, "web", "user", "add", name, "--role", role, "--file", users)
		password := "correct horse " + name
		cmd.Stdin = strings.NewReader(password + "\n")
		out, err := cmd.CombinedOutput()
		fields := strings.Fields(string(out))
		if err != nil || len(fields) < 2 {
			t.Fatalf("%v: %s", err, out)
		}
		people = append(people, [3]string{name, password, fields[len(fields)-2]})
	}
	slices.SortFunc(people, func(a, b [3]string) int { return strings.Compare(a[0], b[0]) })
	list, err := exec.Command(binary, "web", "user", "list", "--file", users).CombinedOutput()
	if err != nil || !strings.Contains(string(list), "alice") || strings.Count(string(list), "TOTP") != 2 {
		t.Fatalf("%v: %s", err, list)
	}
	const name = "weir.bank.test" // passkeys need one
	cert, key := certificate(t, name)
	origin := "https://" + name + ":8443"
	s.start("broker")
	web := s.start("web", "--web-history", s.history(), "--web-listen", s.Bank.Addr(8443).String(), "--web-origin", origin,
		"--web-tls-cert", cert, "--web-tls-key", key, "--web-users", users)
	o := te.Observe(t, s.Bank, brokerAddr, root+"/control/command")
	said, err := json.Marshal(people)
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	s.browse("signin", map[string]func(){
		"command from web:alice": func() {
			o.Await(t, patience, "alice's command", func(m te.Message) bool { return strings.Contains(string(m.Payload), `"origin":"web:alice"`) })
			commands = len(o.Messages())
			web.Await(t, `audit=true user=alice role=operator`, patience)
		},
		"no command": func() {
			time.Sleep(200 * time.Millisecond)
			if n := len(o.Messages()); n != commands {
				t.Errorf("%d commands, %d before", n, commands)
			}
		},
		"demote bob": func() {
			if out, err := exec.Command(binary, "web", "user", "remove", "bob", "--file", users).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			web.Signal(syscall.SIGHUP)
		},
		"alice has a passkey": func() {
			out, err := exec.Command(binary, "web", "user", "passkeys", "alice", "--file", users).CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "blue key ") || strings.Count(string(out), "\n") != 1 {
				t.Errorf("%v: %s", err, out)
			}
			web.Await(t, `audit=true user=alice passkey="blue key"`, patience)
		},
		"remove alice's passkey": func() {
			out, err := exec.Command(binary, "web", "user", "passkeys", "alice", "--remove", "blue key", "--file", users).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			web.Signal(syscall.SIGHUP)
		},
	}, "PAGE_URL="+origin, "PAGE_PEOPLE="+string(said), "PAGE_HOSTS=MAP "+name+" "+s.Bank.IPv4.String())
}
