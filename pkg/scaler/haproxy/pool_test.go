package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/scaler/health"
	te "github.com/weir-sensor/weir/pkg/testenv"
)

// launcher runs servers in this process. Each says its port and how many requests it has had.
type launcher struct {
	mu      sync.Mutex
	running map[int]*http.Server
	fail    map[int]error
	sick    map[int]bool // answers 500
	hold    chan struct{}
}

func (l *launcher) Start(_ context.Context, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[n] != nil || l.fail[n] != nil {
		return l.fail[n]
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n))
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		sick := l.sick[n]
		l.mu.Unlock()
		if sick {
			w.WriteHeader(http.StatusInternalServerError)
		}
		if r.URL.Path == "/slow" {
			<-l.hold
		}
		fmt.Fprint(w, n)
	})}
	go func() { _ = s.Serve(listener) }()
	l.running[n] = s
	return nil
}

func (l *launcher) Stop(_ context.Context, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.running[n]; s != nil {
		delete(l.running, n)
		return s.Close()
	}
	return nil
}

func (l *launcher) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running)
}

// rig is a real HAProxy before one server that is always there.
type rig struct {
	*Pool
	*launcher
	t       *testing.T
	haproxy *te.Process
	front   int
	config  string
}

// start starts it; slots is how many the server-template has.
func start(t *testing.T, slots int) *rig {
	te.Tool(t, "haproxy")
	dir := t.TempDir()
	ports := freePorts(t, 6)
	l := &launcher{running: map[int]*http.Server{}, fail: map[int]error{}, sick: map[int]bool{}, hold: make(chan struct{})}
	r := &rig{launcher: l, t: t, front: ports, config: filepath.Join(dir, "haproxy.cfg")}
	template := ""
	if slots > 0 {
		template = fmt.Sprintf("server-template weir 1-%d 127.0.0.1:%d check inter 100ms disabled", slots, ports+2)
	}
	text := fmt.Sprintf(`
global
  stats socket %[1]s/s level admin
defaults
  mode http
  timeout connect 5s
  timeout check 5s
  timeout client 30s
  timeout server 30s
frontend bank
  bind 127.0.0.1:%[2]d
  default_backend bank
backend bank
  balance roundrobin
  option httpchk GET /
  server main 127.0.0.1:%[3]d check inter 100ms weight 7
  server spare 127.0.0.1:%[3]d backup
  %[4]s
`, dir, ports, ports+1, template)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), ports+1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for n := range l.running {
			_ = l.Stop(context.Background(), n)
		}
	})
	r.Pool = New(Config{
		Socket: dir + "/s", Backend: "bank", Prefix: "weir", Address: "127.0.0.1", Options: "check inter 100ms", First: ports + 2, Last: ports + 5,
	}, health.Check("http://127.0.0.1:{n}/"), l)
	r.begin()
	return r
}

func (r *rig) begin() {
	r.t.Helper()
	r.haproxy = te.Local().Start(r.t, "haproxy", "-db", "-f", r.config)
	te.Eventually(r.t, 15*time.Second, "haproxy", func() bool { n, err := r.Size(r.t.Context()); return err == nil && n == 1 })
}

// freePorts finds so many in a row, below those that the kernel gives to clients.
func freePorts(t *testing.T, n int) int {
	for first := 20000 + os.Getpid()%1000*10; first < 32000; first += n {
		var all []net.Listener
		for i := range n {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i)); err == nil {
				all = append(all, l)
			}
		}
		for _, l := range all {
			_ = l.Close()
		}
		if len(all) == n {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

// resize gives it a time as the scaler does.
func (r *rig) resize(to int, within time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	return r.Resize(ctx, to)
}

func (r *rig) must(to int) string {
	r.t.Helper()
	detail, err := r.resize(to, 20*time.Second)
	if err != nil {
		r.t.Fatalf("to %d: %v", to, err)
	}
	r.expect(to)
	return detail
}

// expect demands that there are so many servers, of HAProxy and of processes, and that nothing else is left.
func (r *rig) expect(n int) {
	r.t.Helper()
	all, err := r.servers(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if count(all) != n || r.count() != n {
		r.t.Errorf("%d servers and %d processes, want %d: %+v", count(all), r.count(), n, all)
	}
	for _, s := range all {
		if s.draining() || s.maint() && r.added.MatchString(s.name) || s.there() && (s.weight != 7 || !s.up()) {
			r.t.Errorf("half done: %+v", s)
		}
	}
}

// serving asks the front until each of n servers has answered.
func (r *rig) serving(n int) {
	r.t.Helper()
	seen := map[string]bool{}
	for range 4 * n {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", r.front))
		if err != nil {
			r.t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			r.t.Errorf("answer %d: %s", resp.StatusCode, body)
		}
		seen[string(body)] = true
	}
	if len(seen) != n {
		r.t.Errorf("%d servers answer, want %d: %v", len(seen), n, seen)
	}
}

func TestUpAndDown(t *testing.T) {
	for _, slots := range []int{0, 3} {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			r := start(t, slots)
			if detail := r.must(3); !strings.HasPrefix(detail, "added weir") || strings.Count(detail, "port") != 2 {
				t.Errorf("detail %q", detail)
			}
			r.serving(3)
			r.must(4)
			r.serving(4)
			r.must(4)
			r.must(2)
			r.serving(2)
			r.must(1)
			r.must(2) // again on ports that were used
			r.serving(2)
			r.must(1)
			if _, err := r.resize(0, time.Second); err == nil || !strings.Contains(err.Error(), "0 servers are weir's to take away") {
				t.Errorf("somebody else's server: %v", err)
			}
			r.expect(1)
			if _, err := r.resize(9, time.Second); err == nil || !strings.Contains(err.Error(), "are taken") {
				t.Errorf("no more places: %v", err)
			}
			r.must(1)
		})
	}
}

// TestWhatGoesWrong: with the old number everything is as before.
func TestWhatGoesWrong(t *testing.T) {
	for _, slots := range []int{0, 3} {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			r := start(t, slots)
			second := r.First + 1
			r.fail[second] = errors.New("the launcher says no")
			if _, err := r.resize(3, 10*time.Second); err == nil || !strings.Contains(err.Error(), "the launcher says no") {
				t.Errorf("launcher: %v", err)
			}
			r.must(1)
			delete(r.fail, second)

			r.sick[second] = true
			_, err := r.resize(3, 2*time.Second)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprintf("127.0.0.1:%d/ answers 500", second)) {
				t.Errorf("health: %v", err)
			}
			r.serving(1) // the first has none of the requests, though it is well
			r.must(1)
			r.sick[second] = false

			// Once two are up one of them falls ill: that one goes first.
			r.must(3)
			r.mu.Lock()
			r.sick[r.First] = true
			r.mu.Unlock()
			te.Eventually(t, 15*time.Second, "DOWN", func() bool {
				all, _ := r.servers(t.Context())
				for _, s := range all {
					if s.port == r.First && s.status == "DOWN" {
						return true
					}
				}
				return false
			})
			if _, err := r.resize(2, 10*time.Second); err != nil {
				t.Error(err)
			}
			r.serving(2)
			r.expect(2)
			r.mu.Lock()
			r.sick[r.First] = false
			r.mu.Unlock()
			r.must(1)
		})
	}
}

// TestRequestsAreWaitedFor, and what was drained serves again if they don't end.
func TestRequestsAreWaitedFor(t *testing.T) {
	r := start(t, 0)
	r.must(2)
	answers := make(chan string, 2)
	for range 2 { // one of them to each
		go func() {
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/slow", r.front))
			if err != nil {
				answers <- err.Error()
				return
			}
			body, _ := io.ReadAll(resp.Body)
			answers <- fmt.Sprint(resp.StatusCode, " ", string(body))
		}()
	}
	te.Eventually(t, 15*time.Second, "requests", func() bool {
		all, _ := r.servers(t.Context())
		busy := 0
		for _, s := range all {
			busy += s.busy
		}
		return busy == 2
	})
	if _, err := r.resize(1, time.Second); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it still has requests") {
		t.Errorf("requests: %v", err)
	}
	if detail := r.must(2); !strings.HasPrefix(detail, "serving again: weir-") {
		t.Errorf("undone: %q", detail)
	}
	done := make(chan error, 1)
	go func() { _, err := r.resize(1, 20*time.Second); done <- err }()
	te.Eventually(t, 15*time.Second, "DRAIN", func() bool {
		all, _ := r.servers(t.Context())
		return count(all) == 1
	})
	close(r.hold)
	for range 2 {
		if got := <-answers; !strings.HasPrefix(got, "200 2") {
			t.Errorf("a request that was under way: %s", got)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.expect(1)
}

// TestLeftHalfDone is what a weir that was killed leaves, at each step.
func TestLeftHalfDone(t *testing.T) {
	for _, slots := range []int{0, 3} {
		r := start(t, slots)
		for steps := 1; steps <= 4; steps++ {
			for to := 1; to <= 2; to++ {
				r.leave(steps)
				r.must(to)
				r.serving(to)
				r.must(1)
				if t.Failed() {
					t.Fatalf("%d slots, left after step %d, then %d servers", slots, steps, to)
				}
			}
		}
	}
}

// leave makes the first steps of one more server.
func (r *rig) leave(steps int) {
	r.t.Helper()
	all, err := r.servers(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := r.place(r.t.Context(), all, 7)
	for i, step := range []func() error{
		func() error { return r.launcher.Start(r.t.Context(), s.port) },
		func() error { return r.admit(r.t.Context(), s) },
		func() error { return r.ready(r.t.Context(), []server{s}) },
	} {
		if err == nil && i+1 < steps {
			err = step()
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestSocketGone(t *testing.T) {
	r := start(t, 0)
	r.must(2)
	r.haproxy.Kill()
	for _, err := range []error{second(r.Size(t.Context())), second(r.resize(3, time.Second))} {
		if err == nil || !strings.Contains(err.Error(), "is it running, with `stats socket") {
			t.Errorf("%v", err)
		}
	}
	r.begin() // without the server that was added, whose process is there still
	r.must(1)
	r.must(2)
	r.serving(2)
}

func second[T any](_ T, err error) error { return err }

func TestConfiguredWrong(t *testing.T) {
	r := start(t, 0)
	ctx := t.Context()
	r.Backend = "nope"
	if _, err := r.Size(ctx); err == nil || !strings.Contains(err.Error(), "see scaling.haproxy.backend") {
		t.Error(err)
	}
	r.Backend = "bank"
	r.Options = "check explode"
	if _, err := r.resize(2, 5*time.Second); err == nil || !strings.Contains(err.Error(), "haproxy answers") || !strings.Contains(err.Error(), "explode") {
		t.Error(err)
	}
	r.must(1)
	r.Options = "" // no check: weir's own is all there is
	r.must(2)
	r.must(1)
}

func TestSocketOfLowerLevel(t *testing.T) {
	r := start(t, 0)
	r.haproxy.Kill()
	text, err := os.ReadFile(r.config)
	if err == nil {
		err = os.WriteFile(r.config, []byte(strings.Replace(string(text), "level admin", "level operator", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.begin()
	if _, err := r.resize(2, 5*time.Second); err == nil || !strings.Contains(err.Error(), "level admin") {
		t.Error(err)
	}
}

// TestSocketWithoutPorts: a socket for users hides where servers are. None of them is taken for one that HAProxy has forgotten.
func TestSocketWithoutPorts(t *testing.T) {
	r := start(t, 1)
	r.haproxy.Kill()
	text, err := os.ReadFile(r.config)
	if err == nil {
		text := strings.NewReplacer("level admin", "level user", " disabled", "").Replace(string(text))
		err = os.WriteFile(r.config, []byte(text), 0o600)
	}
	if err == nil {
		err = r.Start(t.Context(), r.First)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.haproxy = te.Local().Start(t, "haproxy", "-db", "-f", r.config)
	te.Eventually(t, 15*time.Second, "haproxy", func() bool { n, err := r.Size(t.Context()); return err == nil && n == 2 })
	for _, to := range []int{1, 2} {
		if _, err := r.resize(to, 5*time.Second); err == nil || !strings.Contains(err.Error(), "level admin") {
			t.Errorf("to %d: %v", to, err)
		}
	}
	if n := r.count(); n != 2 {
		t.Errorf("%d servers run", n)
	}
}
