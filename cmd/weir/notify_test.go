package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// alertmanager is Debian's.
func (s *site) alertmanager() *te.Process {
	s.t.Helper()
	config := s.write("alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n", 0o600)
	p := s.Bank.Start(s.t, "prometheus-alertmanager", "--config.file="+config, "--storage.path="+filepath.Join(s.dir, "alertmanager"),
		"--web.listen-address=127.0.0.1:9093", "--cluster.listen-address=")
	p.Await(s.t, "Listening on", patience)
	return p
}

// standing are the alerts that Alertmanager holds for active, by name.
func (s *site) standing() map[string]map[string]string {
	var all []struct{ Labels map[string]string }
	if json.Unmarshal([]byte(s.get("http://127.0.0.1:9093/api/v2/alerts?active=true")), &all) != nil {
		return nil
	}
	byName := map[string]map[string]string{}
	for _, a := range all {
		byName[a.Labels["alertname"]] = a.Labels
	}
	return byName
}

// hooks is a receiver of webhooks that believes only what is signed.
type hooks struct {
	mu  sync.Mutex
	got []string
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(webhookKey))
	mac.Write([]byte(r.Header.Get("X-Weir-Timestamp") + "." + string(body)))
	if r.Header.Get("X-Weir-Signature") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		http.Error(w, "forged", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, string(body))
}

func (h *hooks) has(parts ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, body := range h.got {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(body, p)
		}
		if all {
			return true
		}
	}
	return false
}

const webhookKey = "correct-horse-battery"

// TestNotifications: a flood is told to the real Alertmanager, to a webhook and to rsyslog, plainly and by TLS, and so is its end, also to
// one that was away when it began.
func TestNotifications(t *testing.T) {
	te.Tool(t, "prometheus-alertmanager", "rsyslogd", "curl")
	if driver, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_gtls.so"); driver == nil {
		te.Tool(t, "rsyslog-gnutls")
	}
	s := newSite(t)
	s.serve()
	am := s.alertmanager()
	log, byTLS := filepath.Join(s.dir, "syslog"), filepath.Join(s.dir, "syslog-tls")
	authority := te.NewAuthority(t)
	cert, key := authority.Server(t)
	t.Setenv("SSL_CERT_FILE", s.write("ca.pem", authority.PEM(), 0o600)) // as if the system trusted it
	s.Bank.Start(t, "rsyslogd", "-n", "-iNONE", "-f", s.write("rsyslog.conf", `
global(defaultNetstreamDriverCAFile="`+s.dir+`/ca.pem" defaultNetstreamDriverCertFile="`+cert+`" defaultNetstreamDriverKeyFile="`+key+`")
module(load="imtcp")
ruleset(name="plain") { action(type="omfile" file="`+log+`" template="RSYSLOG_SyslogProtocol23Format") }
ruleset(name="tls") { action(type="omfile" file="`+byTLS+`" template="RSYSLOG_SyslogProtocol23Format") }
input(type="imtcp" port="601" address="127.0.0.1" ruleset="plain")
input(type="imtcp" port="6514" address="127.0.0.1" ruleset="tls" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
`, 0o600))
	received := &hooks{}
	server := &http.Server{Handler: received}
	l := s.Bank.Listen(t, netip.MustParseAddrPort("127.0.0.1:8088"))
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	loggedIn := func(log string, parts ...string) bool {
		text, _ := os.ReadFile(log)
		for line := range strings.Lines(string(text)) {
			all := true
			for _, p := range parts {
				all = all && strings.Contains(line, p)
			}
			if all {
				return true
			}
		}
		return false
	}
	logged := func(parts ...string) bool { return loggedIn(log, parts...) && loggedIn(byTLS, parts...) }
	s.start("up", "--monitor-calm", "2s", "--metrics-listen", metricsAddr, "--notify-alertmanager", "http://127.0.0.1:9093",
		"--notify-webhook", "http://127.0.0.1:8088/hook", "--notify-webhook-key-file", s.write("key", webhookKey+"\n", 0o600),
		"--notify-syslog", "tcp://127.0.0.1,tls://127.0.0.1")

	te.Eventually(t, patience, "test that arrives", func() bool { // rsyslogd says nothing when it listens
		out, status := s.weir("ctl test-alert --reason drill")
		return status == 0 && strings.Contains(out, "alertmanager 127.0.0.1:9093: ok; webhook 127.0.0.1:8088: ok; syslog 127.0.0.1:601: ok; syslog 127.0.0.1:6514: ok")
	})
	te.Eventually(t, patience, "test in Alertmanager", func() bool { return s.standing()["WeirTest"]["severity"] == "warning" })
	te.Eventually(t, patience, "test in syslog", func() bool {
		return logged("<28>1 ", "[weir@32473 ", `server="<103795587>/bank_server" state="raised"`, "nothing is wrong")
	})
	if !received.has(`"test":true`) {
		t.Error("no test by webhook")
	}
	if out, status := s.weir("ctl test-alert"); status != 1 || !strings.Contains(out, "wait for 5s") {
		t.Errorf("a second test at once: %d, %s", status, out)
	}

	am.Kill()
	f := te.Flood(t, s.Attacker, s.Bank, te.FloodOptions{Target: s.Bank.Addr(80), Rate: 3000})
	te.Eventually(t, patience, "flood by webhook", func() bool {
		return received.has(`"state":"raised"`, `"metric":"syn_packet_count"`, `"severity":"critical"`)
	})
	te.Eventually(t, patience, "flood in syslog", func() bool { return logged("<26>1 ", "raised: SYN packet count exceeded threshold") })
	te.Eventually(t, patience, "failure in the metrics", func() bool {
		return strings.Contains(s.get("http://"+metricsAddr+"/metrics"), `weir_notifier_failing{notifier="alertmanager 127.0.0.1:9093",server="<103795587>/bank_server"} 1`)
	})
	s.alertmanager()
	te.Eventually(t, patience, "flood in Alertmanager", func() bool {
		labels := s.standing()["WeirSYNFlood"]
		return labels["severity"] == "critical" && labels["server"] == "bank_server" && labels["org"] == "<103795587>"
	})
	f.Stop()
	te.Eventually(t, 3*patience, "end of the alert in Alertmanager", func() bool {
		all := s.standing()
		return all != nil && all["WeirSYNFlood"] == nil
	})
	te.Eventually(t, patience, "end by webhook", func() bool { return received.has(`"state":"cleared"`, `"metric":"syn_packet_count"`) })
	te.Eventually(t, patience, "end in syslog", func() bool { return logged("<29>1 ", "cleared: SYN packet count exceeded threshold") })
}
