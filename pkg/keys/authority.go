package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"os"
	"time"

	"github.com/weir-sensor/weir/pkg/secretfile"
)

const (
	rootYears = 20
	siteYears = 10
	backdate  = 5 * time.Minute // for clocks that are behind
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes one, signed by another, or by itself if that is nil.
func newAuthority(name string, now time.Time, by *authority) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name, Organization: []string{"weir"}},
		NotBefore: now.Add(-backdate), NotAfter: now.AddDate(rootYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1,
	}
	a := &authority{t, key}
	if by != nil {
		t.NotAfter, t.MaxPathLen, t.MaxPathLenZero = now.AddDate(siteYears, 0, 0), 0, true
	} else {
		by = a
	}
	a.cert, err = by.sign(t, key)
	return a, err
}

// sign makes a certificate for a key.
func (a *authority) sign(t *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// leaf makes the certificate of an identity. A broker's has the names by which others reach it, and can't be a client's; a client's
// can't be a broker's.
func (a *authority) leaf(name string, from, to time.Time, hosts []string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if len(hosts) > 0 {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, h := range hosts {
		if addr, err := netip.ParseAddr(h); err == nil {
			t.IPAddresses = append(t.IPAddresses, addr.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	cert, err := a.sign(t, key)
	return cert, key, err
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f
	b[0] |= 0x40 // of full length, as RFC 5280 wants it: positive
	return new(big.Int).SetBytes(b)
}

// readAuthority reads a certificate and its key, which nobody else may read.
func readAuthority(certFile, keyFile string) (*authority, error) {
	cert, err := readCertificate(certFile)
	if err != nil {
		return nil, err
	}
	key, err := readPrivate[*ecdsa.PrivateKey](keyFile)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s isn't the key of %s", keyFile, certFile)
	}
	return &authority{cert, key}, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: no certificate in PEM", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// readPrivate reads a private key in PKCS #8.
func readPrivate[K any](path string) (K, error) {
	var none K
	text, err := readSecret(path)
	if err != nil {
		return none, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return none, fmt.Errorf("%s: no key in PEM", path)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return none, fmt.Errorf("%s: no key of PKCS #8", path)
	}
	key, ok := k.(K)
	if !ok {
		return none, fmt.Errorf("%s: a key of another kind, %T", path, k)
	}
	return key, nil
}

// readSecret reads a file that nobody but its owner may read.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !secretfile.Private(path, info) {
		return nil, fmt.Errorf("%s: others than its owner can read it, so it is no secret any more: make a new one, and chmod 600 it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(text) == 0 || len(text) > maxSecret {
		return nil, fmt.Errorf("%s: no secret of %d bytes at most is in it", path, maxSecret)
	}
	return text, nil
}

const maxSecret = 16 << 10

func encodeCertificates(all ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range all {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func encodePrivate(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
