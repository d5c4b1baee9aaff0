package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// fake is a receiver that does as it is told.
type fake struct {
	mu      sync.Mutex
	errs    []error // of the next attempts; then none
	got     []Notice
	at      []time.Time // of all attempts
	hangs   bool
	refresh time.Duration
}

func (f *fake) name() string             { return "fake" }
func (f *fake) refreshes() time.Duration { return f.refresh }

func (f *fake) send(ctx context.Context, n Notice) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = append(f.at, time.Now())
	if f.hangs {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return ctx.Err()
	}
	if len(f.errs) > 0 {
		err := f.errs[0]
		if f.errs = f.errs[1:]; err != nil {
			return err
		}
	}
	f.got = append(f.got, n)
	return nil
}

func (f *fake) states() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, n := range f.got {
		all = append(all, n.Alert.Metric+" "+n.Alert.State)
	}
	return strings.Join(all, ", ")
}

// play runs a scene in a bubble of fake time.
func play(t *testing.T, f *fake, scene func(*Notifiers)) {
	synctest.Test(t, func(t *testing.T) {
		n := &Notifiers{root: wire.DefaultRoot, newID: newID, all: []*worker{newWorker(f, slog.New(slog.DiscardHandler))}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); n.Run(ctx) }()
		synctest.Wait()
		scene(n)
		cancel()
		<-ended
	})
}

func alert(metric, state string) wire.Alert {
	return wire.Alert{Timestamp: 1729697327.5, Alert: "SYN packet count exceeded threshold", State: state, Metric: metric, Value: 789, Threshold: 700, Cause: "threshold", Since: 1729697300}
}

func TestEachChangeIsToldOnce(t *testing.T) {
	f := &fake{}
	play(t, f, func(n *Notifiers) {
		for _, s := range []string{"cleared", "raised", "raised", "reminder", "cleared", "cleared", "reminder"} {
			n.Notify(alert("syn_packet_count", s))
			time.Sleep(time.Second)
		}
		n.Notify(alert("cpu_usage", "raised"))
		synctest.Wait()
	})
	// The last reminder is of an alert that this receiver doesn't know: the monitor was started anew.
	if want := "syn_packet_count raised, syn_packet_count cleared, syn_packet_count raised, cpu_usage raised"; f.states() != want {
		t.Errorf("told %s, want %s", f.states(), want)
	}
}

func TestTriesAgainLessAndLessOften(t *testing.T) {
	f := &fake{}
	for range 10 {
		f.errs = append(f.errs, errors.New("down"))
	}
	play(t, f, func(n *Notifiers) {
		n.Notify(alert("syn_packet_count", "raised"))
		n.Notify(alert("syn_packet_count", "cleared"))
		time.Sleep(10 * time.Minute)
		s := n.Stats()[0]
		if s.Sent != 2 || s.Failed != 10 || s.Queued != 0 || s.Lost != 0 || s.Failing {
			t.Errorf("%+v", s)
		}
	})
	if f.states() != "syn_packet_count raised, syn_packet_count cleared" {
		t.Errorf("in the end %s", f.states())
	}
	for i, most := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60, 60} {
		if gap := f.at[i+1].Sub(f.at[i]); gap > most*time.Second || gap < most*time.Second/2 {
			t.Errorf("pause %d is %v, want %v to %v", i, gap, most*time.Second/2, most*time.Second)
		}
	}
}

// A receiver that hangs makes nobody wait, and costs no more than its queue.
func TestQueueIsBounded(t *testing.T) {
	f := &fake{hangs: true}
	play(t, f, func(n *Notifiers) {
		begin := time.Now()
		for range 1000 {
			n.Notify(alert("syn_packet_count", "raised"))
			n.Notify(alert("syn_packet_count", "cleared"))
		}
		if time.Since(begin) > 0 {
			t.Error("the monitor waited")
		}
		if s := n.Stats()[0]; s.Queued != queueLen || s.Lost != 2000-queueLen {
			t.Errorf("%+v", s)
		}
	})
}

func TestRefusedIsGivenUp(t *testing.T) {
	f := &fake{errs: []error{judge(http.StatusBadRequest, "what's that?\x1b[2J")}}
	play(t, f, func(n *Notifiers) {
		n.Notify(alert("syn_packet_count", "raised"))
		n.Notify(alert("cpu_usage", "raised"))
		synctest.Wait()
		if s := n.Stats()[0]; s.Lost != 1 || s.Sent != 1 {
			t.Errorf("%+v", s)
		}
	})
	if f.states() != "cpu_usage raised" {
		t.Error(f.states())
	}
}

func TestWhatStandsIsRefreshed(t *testing.T) {
	f := &fake{refresh: time.Minute}
	play(t, f, func(n *Notifiers) {
		n.Notify(alert("syn_packet_count", "raised"))
		time.Sleep(150 * time.Second)
		n.Notify(alert("syn_packet_count", "cleared"))
		time.Sleep(time.Hour)
	})
	if want := "syn_packet_count raised, syn_packet_count raised, syn_packet_count raised, syn_packet_count cleared"; f.states() != want {
		t.Errorf("told %s, want %s", f.states(), want)
	}
}

func TestTest(t *testing.T) {
	f := &fake{errs: []error{nil, errors.New("down")}}
	play(t, f, func(n *Notifiers) {
		detail, err := n.Test(context.Background(), time.Now(), "alice")
		if err != nil || detail != "fake: ok" {
			t.Errorf("%q, %v", detail, err)
		}
		if _, err := n.Test(context.Background(), time.Now(), ""); err == nil || !strings.Contains(err.Error(), "wait for") {
			t.Errorf("at once again: %v", err)
		}
		time.Sleep(testEvery)
		if _, err := n.Test(context.Background(), time.Now(), ""); err == nil || err.Error() != "fake: down" {
			t.Errorf("fails: %v", err)
		}
	})
	if len(f.got) != 1 || !f.got[0].Test || !strings.Contains(f.got[0].Alert.Alert, "alice") {
		t.Errorf("%+v", f.got)
	}
	if _, err := (&Notifiers{}).Test(t.Context(), time.Now(), ""); err == nil || !strings.Contains(err.Error(), "notify.alertmanager") {
		t.Errorf("nobody to test: %v", err)
	}
}

// A receiver can check what it gets with nothing but the key.
func TestWebhookIsSigned(t *testing.T) {
	key := "0123456789abcdef"
	var body []byte
	var header http.Header
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
	}))
	defer s.Close()
	n := newNotifiers(t, Config{Webhook: []string{s.URL + "/secret"}, KeyFile: secret(t, key+"\n")})
	if err := n.all[0].out.send(t.Context(), Notice{ID: "x", Root: wire.DefaultRoot, Severity: Critical, Alert: alert("syn_packet_count", "raised")}); err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(header.Get("X-Weir-Timestamp") + "." + string(body)))
	if got, want := header.Get("X-Weir-Signature"), "sha256="+hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	var got hook
	if err := json.Unmarshal(body, &got); err != nil || got.ID != "x" || got.Server != wire.DefaultRoot.String() || got.Alert.Value != 789 || got.Severity != Critical {
		t.Errorf("%s: %v", body, err)
	}
	if strings.Contains(n.all[0].out.name(), "secret") {
		t.Error("the name tells the whole address")
	}
}

// The vector was made by: printf '%s' '1729697327.{"id":"x"}' | openssl dgst -sha256 -hmac 0123456789abcdef
func TestSignIsOpenSSLs(t *testing.T) {
	const want = "bb6a0a2899b25c69896997a793c8496c3b4a2afe3100bab64935c097e0acd422"
	if got := Sign([]byte("0123456789abcdef"), "1729697327", []byte(`{"id":"x"}`)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func newNotifiers(t *testing.T, cfg Config) *Notifiers {
	t.Helper()
	cfg.Root = wire.DefaultRoot
	n, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// secret is a file that nobody else may read.
func secret(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigIsChecked(t *testing.T) {
	open := secret(t, "0123456789abcdef")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		cfg  Config
	}{
		{"notify.alertmanager", Config{Alertmanager: []string{"127.0.0.1:9093"}}},
		{"leave the password out", Config{Alertmanager: []string{"http://u:p@a"}}},
		{"notify.alertmanager-password-file", Config{Alertmanager: []string{"http://u@a"}}},
		{"needs notify.webhook-key-file", Config{Webhook: []string{"https://a/hook"}}},
		{"16 at least", Config{Webhook: []string{"https://a/hook"}, KeyFile: secret(t, "short")}},
		{"chmod 600", Config{Webhook: []string{"https://a/hook"}, KeyFile: open}},
		{"no such file", Config{Webhook: []string{"https://a/hook"}, KeyFile: "/nowhere/key"}},
		{"notify.syslog", Config{Syslog: []string{"/dev/log"}}},
		{"notify.syslog", Config{Syslog: []string{"unix://dev/log"}}},
		{"notify.syslog", Config{Syslog: []string{"http://a"}}},
		{"twice", Config{Syslog: []string{"udp://a", "udp://a:514"}}},
	} {
		c.cfg.Root = wire.DefaultRoot
		if _, err := New(c.cfg, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		} else if strings.Contains(err.Error(), "u:p") || strings.Contains(err.Error(), "/hook") {
			t.Errorf("%v tells a secret", err)
		}
	}
}
