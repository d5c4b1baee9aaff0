package export

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/access"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
)

// The brokers that let in what the embedded one refuses; docs/brokers.md tells.
var (
	unbound    = []string{"mosquitto", "nats"} // a certificate and a password of two identities
	oldTLS     = []string{"nats"}              // TLS 1.2
	sharedIDs  = []string{"mosquitto", "nats"} // a client ends another's connection by its client ID
	sessionsOf = []string{"mosquitto", "nats"} // … and is sent what that was subscribed to, as far as it may receive that
	grantAll   = []string{"mosquitto"}         // every filter, and then hold back what it matches
)

func TestFactors(t *testing.T) {
	w := newWorld(t)
	viewer, sensor := w.of(t, trust.Viewer, roots[2]), w.of(t, trust.Sensor, roots[2])
	now := time.Now().UTC()
	revoked := w.ca.Issue(t, trust.Identity{Name: "viewer-revokedd", Role: trust.Viewer, Org: org, Revoked: &now})
	h, err := Hash(revoked.Secret)
	if err != nil {
		t.Fatal(err)
	}
	w.all, w.hashes[revoked.Name] = append(w.all, revoked), h
	expired := w.ca.IssueUntil(t, trust.Identity{Name: "viewer-expiredd", Role: trust.Viewer, Org: org}, now.Add(-time.Minute))
	if h, err = Hash(expired.Secret); err != nil {
		t.Fatal(err)
	}
	w.all, w.hashes[expired.Name] = append(w.all, expired), h
	unknown := w.ca.Issue(t, trust.Identity{Name: "viewer-unknownn", Role: trust.Viewer, Org: org})
	forged := te.NewAuthority(t).Issue(t, viewer.Identity)
	forged.Secret = viewer.Secret
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			address := k.start(t, w)
			for _, c := range []struct {
				what   string
				who    *te.Member
				change func(*mqtt.ClientOptions)
				letIn  bool
			}{
				{"all is well", viewer, func(*mqtt.ClientOptions) {}, true},
				{"no certificate", viewer, func(o *mqtt.ClientOptions) { o.SetTLSConfig(w.ca.Client(nil)) }, false},
				{"another CA's certificate", forged, func(*mqtt.ClientOptions) {}, false},
				{"no password", viewer, func(o *mqtt.ClientOptions) { o.SetPassword("") }, false},
				{"a wrong password", viewer, func(o *mqtt.ClientOptions) { o.SetPassword(sensor.Secret) }, false},
				{"the hash as password", viewer, func(o *mqtt.ClientOptions) { o.SetPassword(w.hashes[viewer.Name].Bcrypt) }, false},
				{"no name", viewer, func(o *mqtt.ClientOptions) { o.SetUsername("").SetPassword("") }, false},
				{"revoked", revoked, func(*mqtt.ClientOptions) {}, false},
				{"an expired certificate", expired, func(*mqtt.ClientOptions) {}, false},
				{"unknown", unknown, func(*mqtt.ClientOptions) {}, false},
				{"a broker's", w.of(t, trust.Broker, roots[2]), func(*mqtt.ClientOptions) {}, false},
				{"TLS 1.1", viewer, func(o *mqtt.ClientOptions) {
					o.TLSConfig.MinVersion, o.TLSConfig.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
				}, false},
				{"TLS 1.2", viewer, func(o *mqtt.ClientOptions) { o.TLSConfig.MaxVersion = tls.VersionTLS12 }, slices.Contains(oldTLS, k.name)},
				{"another's certificate", viewer, func(o *mqtt.ClientOptions) { o.SetTLSConfig(w.ca.Client(sensor)) }, slices.Contains(unbound, k.name)},
			} {
				s := w.connect(address, c.who, c.change)
				if (s != nil) != c.letIn {
					t.Errorf("%s: let in: %v", c.what, s != nil)
				}
				if s != nil {
					s.Disconnect(0)
				}
			}
		})
	}
}

// TestClientIDs: what comes of a client that uses another's client ID.
func TestClientIDs(t *testing.T) {
	w := newWorld(t)
	viewer, sensor := w.of(t, trust.Viewer, roots[2]), w.of(t, trust.Sensor, roots[2])
	monitor, operator := w.of(t, trust.Monitor, roots[2]), w.of(t, trust.Operator, roots[2])
	named := func(o *mqtt.ClientOptions) { o.SetClientID("weir-web").SetCleanSession(false) }
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			address := k.start(t, w)
			victim := w.session(t, address, viewer, named)
			for _, topic := range []string{roots[2].Alerts(), roots[2].Command()} {
				wait(t, victim.Subscribe(topic, 1, nil))
			}
			thief := w.session(t, address, sensor, named)
			time.Sleep(grace)
			if ended := !victim.IsConnectionOpen(); ended != slices.Contains(sharedIDs, k.name) {
				t.Errorf("the victim's connection is ended: %v", ended)
			}
			wait(t, w.session(t, address, monitor).Publish(roots[2].Alerts(), 1, false, "alert"))
			wait(t, w.session(t, address, operator).Publish(roots[2].Command(), 1, false, "command"))
			time.Sleep(grace)
			if got := thief.has(roots[2].Alerts(), "alert"); got {
				t.Error("the thief is sent alerts")
			}
			if got := thief.has(roots[2].Command(), "command"); got != slices.Contains(sessionsOf, k.name) {
				t.Errorf("the thief is sent what he may receive: %v", got)
			}
		})
	}
}

// TestQueuesOfOthers: what waits for somebody who is away is given to nobody else who uses his client ID.
func TestQueuesOfOthers(t *testing.T) {
	w := newWorld(t)
	viewer, sensor, monitor := w.of(t, trust.Viewer, roots[2]), w.of(t, trust.Sensor, roots[2]), w.of(t, trust.Monitor, roots[2])
	named := func(o *mqtt.ClientOptions) { o.SetClientID("weir-web").SetCleanSession(false) }
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			address := k.start(t, w)
			victim := w.session(t, address, viewer, named)
			wait(t, victim.Subscribe(roots[2].Alerts(), 1, nil))
			victim.Disconnect(100)
			wait(t, w.session(t, address, monitor).Publish(roots[2].Alerts(), 1, false, "alert"))
			thief := w.session(t, address, sensor, named)
			time.Sleep(grace)
			if thief.has(roots[2].Alerts(), "alert") {
				t.Error("the thief is sent the alert")
			}
			thief.Disconnect(100)
			if k.name != "embedded" {
				return
			}
			te.Eventually(t, 5*time.Second, "alert for the victim", func() bool {
				again := w.session(t, address, viewer, named)
				time.Sleep(50 * time.Millisecond)
				return again.has(roots[2].Alerts(), "alert")
			})
		})
	}
}

// TestNATSProtocol: the users of MQTT may not speak NATS's own protocol, which knows nothing of certificates here.
func TestNATSProtocol(t *testing.T) {
	te.Tool(t, "nats-server")
	w := newWorld(t)
	dir, _ := foreign(t, w, NATS)
	conf, ports := filepath.Join(dir, "nats-server.conf"), t.TempDir()
	edit(t, conf, `listen: "127.0.0.1:4222"`, `listen: "127.0.0.1:-1", ports_file_dir: "`+ports+`"`)
	te.Local().Start(t, "nats-server", "-c", conf).Await(t, "Server is ready", 10*time.Second)
	var listens struct{ NATS []string }
	te.Eventually(t, 5*time.Second, "file of ports", func() bool {
		files, _ := filepath.Glob(ports + "/*.ports")
		if len(files) == 0 {
			return false
		}
		text, _ := os.ReadFile(files[0])
		return json.Unmarshal(text, &listens) == nil && len(listens.NATS) > 0
	})
	m := w.of(t, trust.Operator, roots[0])
	for _, login := range []string{`{}`, `{"user":"` + m.Name + `","pass":"` + m.Secret + `"}`} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(listens.NATS[0], "nats://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("CONNECT " + login + "\r\nPING\r\n")); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		said, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(said), "Authorization Violation") || strings.Contains(string(said), "PONG") {
			t.Errorf("%s: %s", login, said)
		}
	}
}

// TestDocumented: docs/brokers.md has a row for each gap.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/brokers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []struct {
		row  string
		lets func(broker string) bool
	}{
		{"retain what isn't to be retained", func(b string) bool { return slices.Contains(Gaps, Gap{b, access.PublishRetained}) }},
		{"leave a will where none is to be left", func(b string) bool { return slices.Contains(Gaps, Gap{b, access.Will}) }},
		{"show a certificate and a password of two identities", func(b string) bool { return slices.Contains(unbound, b) }},
		{"use TLS 1.2", func(b string) bool { return slices.Contains(oldTLS, b) }},
		{"be told that a filter is granted which isn't", func(b string) bool { return slices.Contains(grantAll, b) }},
		{"end another's connection by his client ID", func(b string) bool { return slices.Contains(sharedIDs, b) }},
	} {
		found := false
		for line := range strings.Lines(string(text)) {
			cells := strings.Split(line, "|")
			if len(cells) < 6 || strings.TrimSpace(cells[1]) != what.row {
				continue
			}
			found = true
			for i, b := range []string{"embedded", "mosquitto", "nats"} {
				if strings.HasPrefix(strings.TrimSpace(cells[2+i]), "yes") != what.lets(b) {
					t.Errorf("%s: %s: %s", what.row, b, cells[2+i])
				}
			}
		}
		if !found {
			t.Errorf("no row %q", what.row)
		}
	}
}
