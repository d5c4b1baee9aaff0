package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/trust"
)

// Authority issues what a broker and its clients show each other: an offline root, and one CA below it that signs.
type Authority struct {
	Root, Issuer *x509.Certificate
	key          *ecdsa.PrivateKey // the issuer's
}

// Member is an identity with its secrets.
type Member struct {
	trust.Identity
	Secret string // the password
	TLS    tls.Certificate
}

// NewAuthority makes an authority of its own.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	rootKey, issuerKey := newKey(t), newKey(t)
	root := certificate("root", time.Now().Add(24*time.Hour))
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	root = parse(t, sign(t, root, root, rootKey, rootKey))
	issuer := certificate("issuer", time.Now().Add(24*time.Hour))
	issuer.IsCA, issuer.BasicConstraintsValid, issuer.KeyUsage = true, true, x509.KeyUsageCertSign
	issuer = parse(t, sign(t, issuer, root, issuerKey, rootKey))
	return &Authority{Root: root, Issuer: issuer, key: issuerKey}
}

// PEM is the root's certificate.
func (a *Authority) PEM() string { return encode("CERTIFICATE", a.Root.Raw) }

// Server makes a broker's certificate for the loopback addresses, with the issuer's after it, and gives the files of it and its key.
func (a *Authority) Server(t testing.TB) (certificatePath, keyPath string) {
	t.Helper()
	c := certificate("localhost", time.Now().Add(24*time.Hour))
	c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	key := newKey(t)
	der := sign(t, c, a.Issuer, key, a.key)
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificatePath, keyPath = filepath.Join(dir, "broker.crt"), filepath.Join(dir, "broker.key")
	for path, text := range map[string]string{
		certificatePath: encode("CERTIFICATE", der) + encode("CERTIFICATE", a.Issuer.Raw), keyPath: encode("EC PRIVATE KEY", raw),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificatePath, keyPath
}

// Issue makes an identity's certificate, password and, if its role signs, a key that nobody has. Its times are now until tomorrow
// unless it has some.
func (a *Authority) Issue(t testing.TB, id trust.Identity) *Member {
	t.Helper()
	return a.IssueUntil(t, id, time.Now().Add(24*time.Hour))
}

// IssueUntil is Issue with an end of the certificate alone.
func (a *Authority) IssueUntil(t testing.TB, id trust.Identity, until time.Time) *Member {
	t.Helper()
	if id.NotAfter.IsZero() {
		id.NotBefore, id.NotAfter = time.Now().Add(-time.Minute).UTC(), time.Now().Add(24*time.Hour).UTC()
	}
	key, secret := newKey(t), rand.Text()
	der := sign(t, certificate(id.Name, until), a.Issuer, key, a.key)
	id.Certificate, id.Password = sum(der), sum([]byte(secret))
	if id.Role.Signs() {
		id.Algorithm, id.Key = trust.Ed25519, base64.StdEncoding.EncodeToString(make([]byte, 32))
	}
	return &Member{id, secret, tls.Certificate{Certificate: [][]byte{der, a.Issuer.Raw}, PrivateKey: key}}
}

// Client is how a member connects to a broker of this authority.
func (a *Authority) Client(m *Member) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.Root)
	cfg := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if m != nil {
		cfg.Certificates = []tls.Certificate{m.TLS}
	}
	return cfg
}

// File is the trust file of some members.
func (a *Authority) File(members ...*Member) *trust.File {
	f := &trust.File{Version: 1, Authority: a.PEM()}
	for _, m := range members {
		f.Identities = append(f.Identities, m.Identity)
	}
	return f
}

func certificate(name string, until time.Time) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, c, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
