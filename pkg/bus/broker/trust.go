package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/weir-sensor/weir/pkg/access"
	"github.com/weir-sensor/weir/pkg/certpair"
	"github.com/weir-sensor/weir/pkg/trust"
)

// Trust makes the broker ask everybody who he is: all of its addresses are then for TLS, a client shows the certificate and the
// password of one identity, and may do what pkg/access says.
type Trust struct {
	File        func() *trust.File // what is trusted now; another pointer after a reload. Asked twice a second, and by every client
	Certificate string             // file: the broker's own certificate and those between it and the root, in PEM
	Key         string             // file: its private key, in PEM
	TLS12       bool               // let clients in that lack TLS 1.3
}

// members are who may connect now. A client is always looked up again by its user name, so that a reload is in force at once.
type members struct {
	trust   *Trust
	pair    *certpair.Pair
	current atomic.Pointer[roster]
	taking  sync.Mutex // refresh: an older file never comes after a newer one
}

// roster is what one trust file comes to.
type roster struct {
	file   *trust.File
	roots  *x509.CertPool
	byName map[string]member
}

type member struct {
	trust.Identity
	policy access.Policy
}

func newMembers(t *Trust) (*members, error) {
	p, err := certpair.Load(t.Certificate, t.Key, true)
	if err != nil {
		return nil, fmt.Errorf("the broker's %w", err)
	}
	m := &members{trust: t, pair: p}
	m.current.Store(&roster{})
	if err := m.refresh(); err != nil {
		return nil, err
	}
	return m, nil
}

// refresh takes over what was reloaded. A file that can't be used lets nobody in, rather than those of yesterday.
func (m *members) refresh() error {
	m.taking.Lock()
	defer m.taking.Unlock()
	file := m.trust.File()
	if file == m.current.Load().file && file != nil {
		return nil
	}
	r := &roster{file: file, roots: x509.NewCertPool(), byName: map[string]member{}}
	defer m.current.Store(r) // when it is whole: connections are let in beside it
	if file == nil {
		return errors.New("there is no trust file: nobody can connect until there is one")
	}
	if !r.roots.AppendCertsFromPEM([]byte(file.Authority)) {
		return errors.New("the trust file's authority is no certificate in PEM: nobody can connect; make it anew by weir keys")
	}
	for _, id := range file.Identities {
		r.byName[id.Name] = member{id, access.For(id)}
	}
	return nil
}

// find gives a client's identity, if that is good now.
func (m *members) find(name []byte) (member, error) {
	who, ok := m.current.Load().byName[string(name)]
	if !ok {
		return member{}, fmt.Errorf("there is no identity %.64q in the trust file", name)
	}
	if who.Role == trust.Broker {
		return member{}, fmt.Errorf("%s is a broker's, not a client's", who.Name)
	}
	return who, who.Valid(time.Now())
}

func (m *members) may(cl *mochi.Client, do access.Action, topic string) error {
	who, err := m.find(cl.Properties.Username)
	if err != nil {
		return err
	}
	return who.policy.May(do, topic)
}

// mayEnter checks both factors, which are one identity's, and the will: mochi publishes it without asking.
func (m *members) mayEnter(cl *mochi.Client, connect packets.ConnectParams) error {
	if err := m.refresh(); err != nil {
		return err
	}
	who, err := m.find(connect.Username)
	if err != nil {
		return err
	}
	if !who.Shows(peerCertificate(cl.Net.Conn), connect.Password) {
		return fmt.Errorf("the certificate or the password isn't that of %s", who.Name)
	}
	if !connect.WillFlag {
		return nil
	}
	if err := who.policy.May(access.Will, connect.WillTopic); err != nil {
		return err
	}
	if connect.WillRetain {
		return who.policy.May(access.PublishRetained, connect.WillTopic)
	}
	return nil
}

// peerCertificate is what a client has shown, in DER; nil for nothing.
func peerCertificate(conn net.Conn) []byte {
	c, ok := underWebSocket(conn).(*tls.Conn)
	if !ok {
		return nil
	}
	if shown := c.ConnectionState().PeerCertificates; len(shown) > 0 {
		return shown[0].Raw
	}
	return nil
}

func underWebSocket(conn net.Conn) net.Conn {
	if w, ok := conn.(*wsConn); ok {
		return w.Conn
	}
	return conn
}
