package keys

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/export"
	"github.com/weir-sensor/weir/pkg/trust"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var now = time.Now()

// newStore makes one; its root's key is elsewhere.
func newStore(t *testing.T) (s Settings) {
	t.Helper()
	dir := t.TempDir()
	s = Settings{Dir: filepath.Join(dir, "keys"), Org: "<103795587>", Broker: "tls://broker.bank.example:8883", RootKey: filepath.Join(dir, "root.key")}
	must(t, Init(s, now))
	return s
}

func (s Settings) with(t *testing.T, f func(*Store)) {
	t.Helper()
	st, err := Open(s.Dir, s.RootKey)
	must(t, err)
	f(st)
	must(t, st.Close())
}

func (s Settings) issue(t *testing.T, r Request) string {
	t.Helper()
	if r.Days == 0 {
		r.Days = DefaultDays
	}
	dir := filepath.Join(t.TempDir(), "identity")
	s.with(t, func(st *Store) {
		id, err := st.Issue(r, now)
		must(t, err)
		must(t, id.WriteDir(dir, ""))
	})
	return dir
}

func (s Settings) trust(t *testing.T, dirs ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, trustFile))
	must(t, err)
	for _, dir := range dirs {
		must(t, os.WriteFile(filepath.Join(dir, trustFile), text, 0o644))
	}
}

var aSensor = Request{Role: trust.Sensor, Server: "bank_server"}

func TestIssued(t *testing.T) {
	s := newStore(t)
	for _, r := range []Request{
		aSensor, {Role: trust.Controller, Site: "north", Server: "web1"}, {Role: trust.Monitor, Site: "north"},
		{Role: trust.Operator, Label: "alice"}, {Role: trust.Viewer}, {Role: trust.Broker, Hosts: []string{"broker.bank.example", "192.0.2.1", "2001:db8::1"}},
	} {
		dir := s.issue(t, r)
		id, err := Load(dir, "")
		if err != nil {
			t.Errorf("%s: %v", r.Role, err)
			continue
		}
		if id.Role != r.Role || id.Site != r.Site || id.Server != r.Server || id.Label != r.Label || (id.SignKey != nil) != r.Role.Signs() || (id.Password == "") != (r.Role == trust.Broker) {
			t.Errorf("%+v became %+v", r, id.Identity)
		}
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			secret := strings.HasSuffix(e.Name(), ".key") || e.Name() == filePassword
			if secret && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
		}
		text, err := os.ReadFile(filepath.Join(dir, ConfigFile))
		must(t, err)
		if !strings.Contains(string(text), "identity: "+dir+"\n") || strings.Contains(string(text), "tls://") == (r.Role == trust.Broker) {
			t.Errorf("%s: configuration %s", r.Role, text)
		}
	}
	if hashes, err := export.ReadHashes(s.Dir); err != nil || len(hashes) != 5 {
		t.Errorf("%d hashes for other brokers, %v", len(hashes), err)
	}
	s.with(t, func(st *Store) {
		must(t, st.Verify())
		if n := len(st.Identities()); n != 6 {
			t.Errorf("%d identities", n)
		}
	})
}

func TestNotIssued(t *testing.T) {
	s := newStore(t)
	s.with(t, func(st *Store) {
		for _, r := range []Request{
			{}, {Role: "root", Days: 1}, {Role: trust.Sensor, Days: 1}, {Role: trust.Viewer, Server: "x", Days: 1}, {Role: trust.Sensor, Server: "a/b", Days: 1},
			{Role: trust.Sensor, Server: "x", Site: "+", Days: 1}, {Role: trust.Sensor, Server: "x"}, {Role: trust.Sensor, Server: "x", Days: 100_000},
			{Role: trust.Broker, Days: 1}, {Role: trust.Broker, Days: 1, Hosts: []string{"broker:8883"}}, {Role: trust.Viewer, Days: 1, Hosts: []string{"x"}},
			{Role: trust.Viewer, Days: 1, Label: "a\nb"},
		} {
			if id, err := st.Issue(r, now); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v: %+v, %v", r, id, err)
			}
		}
		if n := len(st.Identities()); n != 0 {
			t.Errorf("%d identities", n)
		}
	})
	if err := Init(s, now); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second root: %v", err)
	}
	if _, err := Open(t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "weir keys init") {
		t.Errorf("no store: %v", err)
	}
	// The root is kept elsewhere: known sites go on, new ones need it.
	s.issue(t, aSensor)
	st, err := Open(s.Dir, "")
	must(t, err)
	defer st.Close()
	_, err = st.Issue(Request{Role: trust.Sensor, Server: "another", Days: 1}, now)
	must(t, err)
	if _, err := st.Issue(Request{Role: trust.Sensor, Site: "south", Server: "x", Days: 1}, now); err == nil || !strings.Contains(err.Error(), "--root-key") {
		t.Errorf("a new site without the root: %v", err)
	}
	must(t, st.Verify())
}

func TestRotateAndRevoke(t *testing.T) {
	s := newStore(t)
	old := s.issue(t, Request{Role: trust.Broker, Hosts: []string{"broker.bank.example"}})
	was, err := Load(old, "")
	must(t, err)
	next := filepath.Join(t.TempDir(), "next")
	s.with(t, func(st *Store) {
		id, err := st.Rotate(was.Name, 30, 48*time.Hour, now)
		must(t, err)
		must(t, id.WriteDir(next, "/etc/weir/x"))
	})
	s.trust(t, old)
	is, err := Load(next, "")
	must(t, err)
	if is.Name == was.Name || is.Certificate.Leaf.DNSNames[0] != "broker.bank.example" {
		t.Errorf("%+v", is.Identity)
	}
	if was, err = Load(old, filepath.Join(s.Dir, trustFile)); err != nil || was.Valid(now.Add(47*time.Hour)) != nil {
		t.Errorf("the old one is good for a while: %v", err)
	}
	if err := was.Valid(now.Add(49 * time.Hour)); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("but no longer: %v", err)
	}
	s.with(t, func(st *Store) {
		must(t, st.Revoke(is.Name, now))
		for _, name := range []string{is.Name, "sensor-aaaaaaaa"} {
			if err := st.Revoke(name, now); err == nil {
				t.Errorf("%s is revoked twice", name)
			}
			if _, err := st.Rotate(name, 30, time.Hour, now); err == nil {
				t.Errorf("%s has a successor", name)
			}
		}
	})
	s.trust(t, next)
	if is, err = Load(next, ""); err != nil || is.Valid(now) == nil {
		t.Errorf("revoked: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	s := newStore(t)
	other := s.issue(t, Request{Role: trust.Controller, Server: "bank_server"})
	copyOf := func(name string) func(dir string) {
		return func(dir string) {
			text, err := os.ReadFile(filepath.Join(other, name))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		}
	}
	for what, c := range map[string]struct {
		change func(dir string)
		says   string
	}{
		"readable key":       {func(dir string) { must(t, os.Chmod(filepath.Join(dir, fileTLSKey), 0o640)) }, "no secret"},
		"readable sign key":  {func(dir string) { must(t, os.Chmod(filepath.Join(dir, fileSignKey), 0o604)) }, "no secret"},
		"readable password":  {func(dir string) { must(t, os.Chmod(filepath.Join(dir, filePassword), 0o644)) }, "no secret"},
		"another's password": {copyOf(filePassword), "aren't those"},
		"another's key":      {copyOf(fileTLSKey), fileCertificate},
		"another's sign key": {copyOf(fileSignKey), "isn't the key"},
		"another's name":     {copyOf(fileName), "the certificate is of"},
		"no password":        {func(dir string) { must(t, os.Remove(filepath.Join(dir, filePassword))) }, "no such file"},
		"an empty password":  {func(dir string) { must(t, os.WriteFile(filepath.Join(dir, filePassword), nil, 0o600)) }, "no secret"},
		"no trust file":      {func(dir string) { must(t, os.Remove(filepath.Join(dir, trustFile))) }, "no such file"},
		"broken certificate": {func(dir string) { must(t, os.WriteFile(filepath.Join(dir, fileCertificate), []byte("x"), 0o644)) }, fileCertificate},
		"nothing":            {func(dir string) { must(t, os.RemoveAll(dir)) }, "weir keys issue"},
	} {
		dir := s.issue(t, aSensor)
		c.change(dir)
		if _, err := Load(dir, ""); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A certificate is good on one side of a connection only, and within one organisation.
func TestHandshakes(t *testing.T) {
	s, stranger := newStore(t), newStore(t)
	load := func(s Settings, r Request) *Identity {
		id, err := Load(s.issue(t, r), "")
		must(t, err)
		return id
	}
	broker := load(s, Request{Role: trust.Broker, Site: "north", Hosts: []string{"127.0.0.1"}})
	sensor := load(s, aSensor)
	for _, c := range []struct {
		what           string
		server, client *Identity
		want           bool
	}{
		{"of two sites", broker, sensor, true},
		{"a sensor as broker", sensor, sensor, false},
		{"a broker as client", broker, broker, false},
		{"another root's client", broker, load(stranger, aSensor), false},
		{"another root's broker", load(stranger, Request{Role: trust.Broker, Hosts: []string{"127.0.0.1"}}), sensor, false},
		{"a broker of another name", load(s, Request{Role: trust.Broker, Hosts: []string{"192.0.2.1"}}), sensor, false},
	} {
		if err := handshake(t, c.server, c.client); (err == nil) != c.want {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func handshake(t *testing.T, server, client *Identity) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		sc := tls.Server(c, &tls.Config{
			Certificates: []tls.Certificate{server.Certificate}, ClientCAs: server.Roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		})
		_, _ = sc.Write([]byte("x"))
	})
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	cc := tls.Client(c, &tls.Config{Certificates: []tls.Certificate{client.Certificate}, RootCAs: client.Roots, ServerName: "127.0.0.1"})
	_, err = io.ReadFull(cc, make([]byte, 1))
	return err
}
