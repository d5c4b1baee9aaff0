package export

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/bus/broker"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

const org = "<103795587>"

var roots = []wire.Root{
	{Org: org, Server: "bank"}, {Org: org, Server: "second"}, {Org: org, Site: "north", Server: "bank"},
	{Org: org, Site: "north", Server: "second"}, {Org: org, Site: "south", Server: "bank"}, {Org: "acme", Server: "bank"},
}

// world has everybody: one of each role for each server or site.
type world struct {
	ca     *te.Authority
	all    []*te.Member
	hashes map[string]Hashes
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{ca: te.NewAuthority(t), hashes: map[string]Hashes{}}
	for i, root := range roots {
		for _, role := range trust.Roles {
			id := trust.Identity{Name: fmt.Sprintf("%s-aaaaaaa%c", role, 'a'+i), Role: role, Org: root.Org, Site: root.Site, Server: root.Server}
			if !role.OfOneServer() {
				if id.Server = ""; root.Server != "bank" {
					continue // its site has one
				}
			}
			m := w.ca.Issue(t, id)
			h, err := Hash(m.Secret)
			if err != nil {
				t.Fatal(err)
			}
			w.all, w.hashes[m.Name] = append(w.all, m), h
		}
	}
	return w
}

func (w *world) file() *trust.File { return w.ca.File(w.all...) }

// of is who plays a role for a root.
func (w *world) of(t *testing.T, role trust.Role, root wire.Root) *te.Member {
	t.Helper()
	for _, m := range w.all {
		if m.Role == role && m.Speaks(root) {
			return m
		}
	}
	t.Fatalf("nobody is %s of %s", role, root)
	return nil
}

// subjects are those whose every action is tried: of a server without a site, and of one with.
func (w *world) subjects(t *testing.T) []*te.Member {
	t.Helper()
	var s []*te.Member
	for _, root := range []wire.Root{roots[0], roots[2]} {
		for _, role := range trust.Roles {
			if role != trust.Broker {
				s = append(s, w.of(t, role, root))
			}
		}
	}
	return s
}

// topics are all of weir's, and some that are like them. A viewer may read each of them.
func topics() []string {
	all := []string{
		"public/news", org + "/north/metrics/alerts", org + "/north/status/control/command", // of a server named metrics: nobody's
	}
	for _, r := range roots {
		all = append(all, r.MetricsCPU(), r.MetricsRAM(), r.MetricsNetwork(), r.StatusSensor(), r.StatusRateLimiting(), r.StatusScaling(),
			r.Alerts(), r.Command(), r.String()+"/metrics/disk")
	}
	return all
}

// kind is a broker that is tried.
type kind struct {
	name  string
	qos   []byte // with which it says no to a publisher without ending the connection
	start func(*testing.T, *world) (address string)
}

var kinds = []kind{
	{"embedded", []byte{0}, embedded}, {"mosquitto", []byte{0, 1}, startMosquitto}, {"nats", []byte{0, 1}, startNATS},
}

func embedded(t *testing.T, w *world) string {
	t.Helper()
	file := w.file()
	trusted := &broker.Trust{File: func() *trust.File { return file }}
	trusted.Certificate, trusted.Key = w.ca.Server(t)
	b, err := broker.New(broker.Config{Listen: "127.0.0.1:0", Trust: trusted}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- b.Run(ctx, sync.OnceFunc(func() { close(ready) })) }()
	<-ready
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b.Addr()
}

// foreign writes a broker's files and gives their folder and the address.
func foreign(t *testing.T, w *world, export func(*trust.File, map[string]Hashes, Options) (map[string][]byte, error)) (dir, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	dir = t.TempDir()
	files, err := export(w.file(), w.hashes, Options{Now: time.Now(), Listen: address, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(dir, files); err != nil {
		t.Fatal(err)
	}
	certificate, key := w.ca.Server(t)
	for from, to := range map[string]string{certificate: certificateFile, key: keyFile} {
		if err := os.Rename(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, address
}

// edit changes what a test can't have as it is exported.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %q: %v", path, from, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func startMosquitto(t *testing.T, w *world) string {
	t.Helper()
	te.Tool(t, "mosquitto")
	dir, address := foreign(t, w, Mosquitto)
	conf := filepath.Join(dir, "weir.conf")
	edit(t, conf, "\nallow_anonymous", "\nuser root\nallow_anonymous") // it couldn't read the test's folder
	te.Local().Start(t, "mosquitto", "-c", conf).Await(t, "running", 10*time.Second)
	return address
}

func startNATS(t *testing.T, w *world) string {
	t.Helper()
	te.Tool(t, "nats-server")
	dir, address := foreign(t, w, NATS)
	conf := filepath.Join(dir, "nats-server.conf")
	edit(t, conf, "127.0.0.1:4222", "127.0.0.1:-1") // any port
	te.Local().Start(t, "nats-server", "-c", conf).Await(t, "Server is ready", 10*time.Second)
	return address
}

// session is a client, and what it has received: payloads by topic.
type session struct {
	mqtt.Client
	conn net.Conn

	mu  sync.Mutex
	got map[string][]string
}

// connect gives nil if the broker refuses.
func (w *world) connect(address string, m *te.Member, change ...func(*mqtt.ClientOptions)) *session {
	s := &session{got: map[string][]string{}}
	o := mqtt.NewClientOptions().AddBroker("ssl://" + address).SetAutoReconnect(false).SetConnectTimeout(5 * time.Second).
		SetProtocolVersion(4).SetUsername(m.Name).SetPassword(m.Secret).SetTLSConfig(w.ca.Client(m)).SetOrderMatters(true).
		SetDefaultPublishHandler(func(_ mqtt.Client, msg mqtt.Message) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got[msg.Topic()] = append(s.got[msg.Topic()], string(msg.Payload()))
		}).
		SetCustomOpenConnectionFn(func(_ *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
			d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: o.TLSConfig}
			var err error
			s.conn, err = d.Dial("tcp", address)
			return s.conn, err
		})
	for _, c := range change {
		c(o)
	}
	s.Client = mqtt.NewClient(o)
	if token := s.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		return nil
	}
	return s
}

func (w *world) session(t *testing.T, address string, m *te.Member, change ...func(*mqtt.ClientOptions)) *session {
	t.Helper()
	s := w.connect(address, m, change...)
	if s == nil {
		t.Fatalf("%s isn't let in", m.Name)
	}
	t.Cleanup(func() { s.Disconnect(0) })
	return s
}

// has tells whether a payload has come on a topic.
func (s *session) has(topic, payload string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.got[topic] {
		if p == payload {
			return true
		}
	}
	return false
}

func wait(t *testing.T, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("no answer: %v", token.Error())
	}
}
