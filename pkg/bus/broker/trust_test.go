package broker

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
)

// bank is a broker that asks everybody, with some that it knows.
type bank struct {
	*Broker
	ca   *te.Authority
	file atomic.Pointer[trust.File]
	log  *logged

	sensor, controller, monitor, operator, viewer, elsewhere *te.Member
}

func of(role trust.Role, name string) trust.Identity {
	id := trust.Identity{Name: string(role) + "-" + name, Role: role, Org: "org", Site: "north"}
	if role.OfOneServer() {
		id.Server = "server"
	}
	return id
}

func newBank(t *testing.T, change ...func(*Trust)) *bank {
	t.Helper()
	b := &bank{ca: te.NewAuthority(t), log: &logged{}}
	for role, m := range map[trust.Role]**te.Member{
		trust.Sensor: &b.sensor, trust.Controller: &b.controller, trust.Monitor: &b.monitor, trust.Operator: &b.operator, trust.Viewer: &b.viewer,
	} {
		*m = b.ca.Issue(t, of(role, "aaaaaaaa"))
	}
	id := of(trust.Viewer, "southern")
	id.Site = "south"
	b.elsewhere = b.ca.Issue(t, id)
	b.trust()
	trusted := &Trust{File: b.file.Load}
	trusted.Certificate, trusted.Key = b.ca.Server(t)
	for _, c := range change {
		c(trusted)
	}
	var err error
	if b.Broker, err = New(Config{Listen: "127.0.0.1:0", ListenWS: "127.0.0.1:0", Trust: trusted}, slog.New(slog.NewTextHandler(b.log, nil))); err != nil {
		t.Fatal(err)
	}
	run(t, b.Broker)
	return b
}

// trust trusts the usual members and some more.
func (b *bank) trust(more ...*te.Member) {
	b.file.Store(b.ca.File(append(more, b.sensor, b.controller, b.monitor, b.operator, b.viewer, b.elsewhere)...))
}

func (b *bank) url() string { return "ssl://" + b.Addr() }

// as connects as a member does.
func (b *bank) as(m *te.Member) func(*mqtt.ClientOptions) {
	return func(o *mqtt.ClientOptions) {
		o.SetTLSConfig(b.ca.Client(m)).SetUsername(m.Name).SetPassword(m.Secret).SetConnectTimeout(5 * time.Second)
	}
}

func (b *bank) client(t *testing.T, m *te.Member, change ...func(*mqtt.ClientOptions)) mqtt.Client {
	t.Helper()
	return client(t, b.url(), append([]func(*mqtt.ClientOptions){b.as(m)}, change...)...)
}

func refused(url string, change ...func(*mqtt.ClientOptions)) error {
	o := mqtt.NewClientOptions().AddBroker(url).SetAutoReconnect(false).SetConnectTimeout(3 * time.Second)
	for _, c := range change {
		c(o)
	}
	c := mqtt.NewClient(o)
	token := c.Connect()
	if token.WaitTimeout(5*time.Second) && token.Error() == nil {
		c.Disconnect(0)
		return fmt.Errorf("let in")
	}
	return nil
}

func TestTwoFactors(t *testing.T) {
	b := newBank(t)
	now := time.Now().UTC()
	revoked, ended, early := of(trust.Viewer, "revokedd"), of(trust.Viewer, "endeddda"), of(trust.Viewer, "earlyyya")
	revoked.Revoked = &now
	ended.NotBefore, ended.NotAfter = now.Add(-time.Hour), now.Add(-time.Second)
	early.NotBefore, early.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour)
	brokers := te.Member{Identity: of(trust.Broker, "aaaaaaaa")}
	bad := map[string]*te.Member{}
	for name, id := range map[string]trust.Identity{"revoked": revoked, "ended": ended, "too early": early, "a broker's": brokers.Identity} {
		bad[name] = b.ca.Issue(t, id)
	}
	unknown := b.ca.Issue(t, of(trust.Viewer, "unknownn"))
	b.trust(bad["revoked"], bad["ended"], bad["too early"], bad["a broker's"])
	bad["unknown"] = unknown
	for _, url := range []string{b.url(), "wss://" + b.AddrWS() + "/mqtt"} {
		for name, m := range bad {
			if err := refused(url, b.as(m)); err != nil {
				t.Errorf("%s: %s: %v", url, name, err)
			}
		}
		forged := te.NewAuthority(t).Issue(t, b.viewer.Identity)
		for name, change := range map[string]func(*mqtt.ClientOptions){
			"no password":            func(o *mqtt.ClientOptions) { o.SetPassword("") },
			"another's password":     func(o *mqtt.ClientOptions) { o.SetPassword(b.operator.Secret) },
			"the hash as password":   func(o *mqtt.ClientOptions) { o.SetPassword(b.viewer.Password) },
			"no certificate":         func(o *mqtt.ClientOptions) { o.SetTLSConfig(b.ca.Client(nil)) },
			"another's certificate":  func(o *mqtt.ClientOptions) { o.SetTLSConfig(b.ca.Client(b.operator)) },
			"another CA's":           func(o *mqtt.ClientOptions) { o.SetTLSConfig(b.ca.Client(forged)) },
			"another's name":         func(o *mqtt.ClientOptions) { o.SetUsername(b.operator.Name) },
			"no name":                func(o *mqtt.ClientOptions) { o.SetUsername("") },
			"TLS 1.2":                func(o *mqtt.ClientOptions) { o.TLSConfig.MaxVersion = tls.VersionTLS12 },
			"another's name and key": func(o *mqtt.ClientOptions) { o.SetUsername(b.operator.Name).SetPassword(b.operator.Secret) },
		} {
			if err := refused(url, b.as(b.viewer), change); err != nil {
				t.Errorf("%s: %s: %v", url, name, err)
			}
		}
		client(t, url, b.as(b.viewer))
	}
	if err := refused("tcp://" + b.Addr()); err != nil {
		t.Error("without TLS:", err)
	}
	if err := refused("ws://" + b.AddrWS() + "/mqtt"); err != nil {
		t.Error("without TLS:", err)
	}
	if strings.Contains(b.log.String(), b.viewer.Secret) {
		t.Error("a password is in the log")
	}
}

func TestTLS12(t *testing.T) {
	b := newBank(t, func(c *Trust) { c.TLS12 = true })
	b.client(t, b.viewer, func(o *mqtt.ClientOptions) { o.TLSConfig.MaxVersion = tls.VersionTLS12 })
	if err := refused(b.url(), b.as(b.viewer), func(o *mqtt.ClientOptions) {
		o.TLSConfig.MinVersion, o.TLSConfig.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	}); err != nil {
		t.Error("TLS 1.1:", err)
	}
}

func TestWillsObey(t *testing.T) {
	b := newBank(t)
	for _, c := range []struct {
		who    *te.Member
		topic  string
		retain bool
		ok     bool
	}{
		{b.sensor, "org/north/server/status/sensor", true, true}, {b.sensor, "org/north/server/status/sensor", false, true},
		{b.sensor, "org/north/other/status/sensor", true, false}, {b.sensor, "org/north/server/control/command", false, false},
		{b.controller, "org/north/server/status/rate_limiting", true, false}, {b.monitor, "org/north/server/alerts", false, false},
		{b.monitor, "org/north/server/control/command", false, false}, {b.operator, "public/x", false, false}, {b.viewer, "public/x", false, false},
		{b.sensor, "$SYS/x", false, false},
	} {
		err := refused(b.url(), b.as(c.who), func(o *mqtt.ClientOptions) { o.SetWill(c.topic, "x", 1, c.retain) })
		if (err != nil) != c.ok {
			t.Errorf("a will of %s on %s, retained %v: %v", c.who.Name, c.topic, c.retain, err)
		}
	}
}

func TestRetainedObey(t *testing.T) {
	b := newBank(t)
	watch := subscribe(t, b.client(t, b.viewer), "org/north/+/status/#")
	commands := subscribe(t, b.client(t, b.controller), "org/north/server/control/command")
	publish(t, b.client(t, b.sensor), "org/north/server/status/sensor", true, "online")
	expect(t, watch, "online")
	operator := b.client(t, b.operator)
	publish(t, operator, "org/north/server/control/command", true, "kept")
	publish(t, operator, "org/north/server/control/command", false, "live")
	expect(t, commands, "live")
	late := b.client(t, b.viewer)
	expect(t, subscribe(t, late, "org/north/server/status/#"), "online")
	select {
	case m := <-subscribe(t, late, "org/north/+/control/command"):
		t.Errorf("%s is kept: %s", m.Topic(), m.Payload())
	case <-time.After(100 * time.Millisecond):
	}
}

func TestRevokedAreDisconnected(t *testing.T) {
	b := newBank(t)
	watch := subscribe(t, b.client(t, b.viewer), "org/north/+/status/#")
	id := of(trust.Sensor, "shortliv")
	id.NotBefore, id.NotAfter = time.Now().Add(-time.Hour).UTC(), time.Now().Add(3*time.Second).UTC()
	short := b.ca.Issue(t, id)
	thief, gone := b.ca.Issue(t, of(trust.Sensor, "revokedd")), b.ca.Issue(t, of(trust.Controller, "revokedd"))
	b.trust(short, thief, gone)
	kept := func(o *mqtt.ClientOptions) { o.SetClientID("kept").SetCleanSession(false) }
	away := b.client(t, gone, kept)
	subscribe(t, away, "public/#")
	away.Disconnect(0)
	lost := make(chan string, 2)
	for _, m := range []*te.Member{short, thief} {
		b.client(t, m, func(o *mqtt.ClientOptions) {
			o.SetWill("org/north/server/status/sensor", "the last word of "+m.Name, 1, true)
			o.SetConnectionLostHandler(func(mqtt.Client, error) { lost <- m.Name })
		})
	}
	now := time.Now().UTC()
	thief.Revoked, gone.Revoked = &now, &now
	b.trust(short, thief, gone)
	for _, want := range []*te.Member{thief, short} {
		select {
		case name := <-lost:
			if name != want.Name {
				t.Errorf("%s is disconnected, want %s", name, want.Name)
			}
		case <-time.After(6 * time.Second):
			t.Fatalf("%s stays", want.Name)
		}
		if want == thief && time.Since(now) > 2*time.Second {
			t.Errorf("it took %v", time.Since(now))
		}
	}
	for _, m := range []*te.Member{short, thief} {
		if err := refused(b.url(), b.as(m)); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	if _, there := b.server.Clients.Get(gone.Name + "/kept"); there {
		t.Error("the session of a revoked client stays")
	}
	publish(t, b.client(t, b.sensor), "org/north/server/status/sensor", true, "online")
	expect(t, watch, "online") // and no last words before it
}

// TestRevokedAreMute at once, before they are disconnected.
func TestRevokedAreMute(t *testing.T) {
	b := newBank(t)
	thief := b.ca.Issue(t, of(trust.Operator, "revokedd"))
	b.trust(thief)
	c := b.client(t, thief)
	commands := subscribe(t, b.client(t, b.controller), "org/north/server/control/command")
	now := time.Now().UTC()
	thief.Revoked = &now
	b.trust(thief)
	if err := b.guard.members.refresh(); err != nil { // as the sweep, which would disconnect it, too
		t.Fatal(err)
	}
	c.Publish("org/north/server/control/command", 0, false, "stolen")
	time.Sleep(50 * time.Millisecond)
	publish(t, b.client(t, b.operator), "org/north/server/control/command", false, "mine")
	expect(t, commands, "mine")
}

// TestClientIDsAreOfOneIdentity: another's session can't be taken over, nor ended.
func TestClientIDsAreOfOneIdentity(t *testing.T) {
	b := newBank(t)
	named := func(o *mqtt.ClientOptions) { o.SetClientID("weir").SetCleanSession(false) }
	first := b.client(t, b.viewer, named)
	got := subscribe(t, first, "org/north/+/alerts")
	theirs := make(chan mqtt.Message, 10)
	b.client(t, b.elsewhere, named, func(o *mqtt.ClientOptions) {
		o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { theirs <- m })
	})
	publish(t, b.client(t, b.monitor), "org/north/server/alerts", false, "alert")
	expect(t, got, "alert")
	if !first.IsConnectionOpen() || len(theirs) > 0 {
		t.Error("another's session was taken over")
	}
}

// TestAliases: mochi asks before it looks up a topic's alias.
func TestAliases(t *testing.T) {
	b := newBank(t)
	got := subscribe(t, b.client(t, b.viewer), "org/north/+/metrics/#")
	commands := subscribe(t, b.client(t, b.controller), "org/north/server/control/command")
	conn, err := tls.Dial("tcp", b.Addr(), b.ca.Client(b.sensor))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// MQTT 5 CONNECT, sections 3.1 and 3.3: a topic with alias 1, then the alias alone; alias 2 of a topic that isn't allowed.
	text := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	packet := func(kind byte, body string) string {
		return string([]byte{kind, byte(len(body)&127 | 128), byte(len(body) >> 7)}) + body
	}
	aliased := func(topic string, alias byte, payload string) string {
		return packet(0x30, text(topic)+"\x03\x23\x00"+string([]byte{alias})+payload)
	}
	write(t, conn, packet(0x10, text("MQTT")+"\x05\xc2\x00\x3c\x00"+text("a")+text(b.sensor.Name)+text(b.sensor.Secret)))
	if _, err := io.ReadAtLeast(conn, make([]byte, 256), 4); err != nil { // CONNACK
		t.Fatal(err)
	}
	write(t, conn, aliased("org/north/server/control/command", 2, "no")+aliased("", 2, "no")+aliased("", 3, "no")+
		aliased("org/north/server/metrics/cpu", 1, "first")+aliased("", 1, "second"))
	expect(t, got, "first")
	expect(t, got, "second")
	publish(t, b.client(t, b.operator), "org/north/server/control/command", false, "mine")
	expect(t, commands, "mine")
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	b := newBank(t)
	stays := b.client(t, b.viewer)
	// Another root, and a certificate of the broker's by it, as after weir keys rotate.
	other := te.NewAuthority(t)
	certificate, key := other.Server(t)
	for from, to := range map[string]string{certificate: b.guard.members.trust.Certificate, key: b.guard.members.trust.Key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	viewer := other.Issue(t, of(trust.Viewer, "anewview"))
	file := b.ca.File(b.viewer, viewer)
	file.Authority += other.PEM()
	b.file.Store(file)
	te.Eventually(t, 3*time.Second, "reload", func() bool {
		return refused(b.url(), func(o *mqtt.ClientOptions) {
			o.SetTLSConfig(other.Client(viewer)).SetUsername(viewer.Name).SetPassword(viewer.Secret)
		}) != nil
	})
	if !stays.IsConnectionOpen() {
		t.Error("a reload disconnects who is trusted still")
	}
	b.file.Store(nil)
	te.Eventually(t, 3*time.Second, "end of everybody", func() bool { return !stays.IsConnectionOpen() })
}

// TestReloadsBesideConnections: who is trusted before and after a reload is let in while it happens. The race detector watches.
func TestReloadsBesideConnections(t *testing.T) {
	b := newBank(t)
	m := b.guard.members
	who := []byte(b.viewer.Name)
	var readers sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		readers.Go(func() {
			for !done.Load() {
				if err := m.refresh(); err != nil {
					t.Error(err)
					return
				}
				if _, err := m.find(who); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		b.trust()
		time.Sleep(100 * time.Microsecond)
	}
	done.Store(true)
	readers.Wait()
}

// TestUnreadableIsNobodyRefused: the number of refusals tells of those who come.
func TestUnreadableIsNobodyRefused(t *testing.T) {
	b := newBank(t)
	if err := os.Rename(b.guard.members.trust.Certificate, b.guard.members.trust.Certificate+".away"); err != nil {
		t.Fatal(err)
	}
	te.Eventually(t, 3*time.Second, "complaint", func() bool { return strings.Contains(b.log.String(), "keeps its old certificate") })
	if n := b.Stats().Refused; n != 0 {
		t.Errorf("%d refusals", n)
	}
	b.client(t, b.viewer) // by the old certificate
}

func TestTrustRefused(t *testing.T) {
	ca := te.NewAuthority(t)
	certificate, key := ca.Server(t)
	open := key + ".open"
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(open, text, 0o644); err != nil {
		t.Fatal(err)
	}
	good := func() *trust.File { return ca.File() }
	for name, c := range map[string]Trust{
		"chmod 600":          {File: good, Certificate: certificate, Key: open},
		"no such file":       {File: good, Certificate: certificate + "x", Key: key},
		"broker.crt and key": {File: good, Certificate: key, Key: key},
		"no trust file":      {File: func() *trust.File { return nil }, Certificate: certificate, Key: key},
		"no certificate in":  {File: func() *trust.File { return &trust.File{} }, Certificate: certificate, Key: key},
	} {
		b, err := New(Config{Listen: "127.0.0.1:0", Trust: &c}, slog.New(slog.DiscardHandler))
		if err == nil {
			_ = b.close()
		}
		if err == nil || name != "broker.crt and key" && !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := New(Config{Listen: "0.0.0.0:0", Trust: &Trust{File: good, Certificate: certificate, Key: key}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}

// TestSilentOverTLS: who doesn't finish the handshake doesn't keep the broker running; run's clean-up demands that.
func TestSilentOverTLS(t *testing.T) {
	b := newBank(t)
	for _, addr := range []string{b.Addr(), b.AddrWS()} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// Whoever has stolen one identity can't take everybody's place with it.
func TestConnectionsOfAnIdentityAreBounded(t *testing.T) {
	b := newBank(t)
	for range maxPerIdentity {
		b.client(t, b.viewer)
	}
	if err := refused(b.url(), b.as(b.viewer)); err != nil {
		t.Error(err)
	}
	b.client(t, b.operator)
}
