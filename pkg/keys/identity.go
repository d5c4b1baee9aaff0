package keys

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/trust"
)

// Identity is what a component was given: a directory that Issued wrote.
type Identity struct {
	trust.Identity
	Certificate tls.Certificate
	SignKey     ed25519.PrivateKey // nil for roles that don't sign
	Password    string
	Roots       *x509.CertPool
	Trust       *trust.File
}

// Load reads an identity's directory and checks that its parts belong together. trustPath is that of the trust file, "" for the one in the
// directory. Whether it is good now is Valid's to say: one that has
// ended must not keep a component from protecting its host. Errors are one line and begin with what they are about.
func Load(dir, trustPath string) (*Identity, error) {
	if trustPath == "" {
		trustPath = filepath.Join(dir, trustFile)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	name, err := os.ReadFile(at(fileName))
	if err != nil {
		return nil, fmt.Errorf("%w: is it a directory that weir keys issue has made?", err)
	}
	t, err := trust.Read(trustPath)
	if err != nil {
		return nil, err
	}
	id := &Identity{Trust: t, Roots: x509.NewCertPool()}
	var ok bool
	if id.Identity, ok = t.Find(strings.TrimSpace(string(name))); !ok {
		return nil, fmt.Errorf("%s doesn't know %.64q: copy the newest one here", trustPath, strings.TrimSpace(string(name)))
	}
	if err := id.readTLS(at); err != nil {
		return nil, err
	}
	if id.Role != trust.Broker {
		text, err := readSecret(at(filePassword))
		if err != nil {
			return nil, err
		}
		id.Password = strings.TrimSpace(string(text))
		if !id.Shows(id.Certificate.Leaf.Raw, []byte(id.Password)) {
			return nil, fmt.Errorf("%s: certificate and password aren't those of %s in %s", dir, id.Name, trustPath)
		}
	} else if trust.Sum(id.Certificate.Leaf.Raw) != id.Identity.Certificate {
		return nil, fmt.Errorf("%s: the certificate isn't that of %s in %s", dir, id.Name, trustPath)
	}
	if !id.Role.Signs() {
		return id, nil
	}
	id.SignKey, err = readPrivate[ed25519.PrivateKey](at(fileSignKey))
	if err == nil && !id.PublicKey().Equal(id.SignKey.Public()) {
		err = fmt.Errorf("%s isn't the key of %s in %s", at(fileSignKey), id.Name, trustPath)
	}
	return id, err
}

func (id *Identity) readTLS(at func(string) string) error {
	root, err := os.ReadFile(at(fileRoot))
	if err != nil {
		return err
	}
	if !id.Roots.AppendCertsFromPEM(root) {
		return fmt.Errorf("%s: no certificate in PEM", at(fileRoot))
	}
	chain, err := os.ReadFile(at(fileCertificate))
	if err != nil {
		return err
	}
	key, err := readSecret(at(fileTLSKey))
	if err != nil {
		return err
	}
	if id.Certificate, err = tls.X509KeyPair(chain, key); err != nil {
		return fmt.Errorf("%s: %w", at(fileCertificate), err)
	}
	return id.checkChain()
}

// Files are the paths of the certificate, with those between it and the root, and of its key.
func Files(dir string) (certificate, key string) {
	return filepath.Join(dir, fileCertificate), filepath.Join(dir, fileTLSKey)
}

// checkChain finds what a broker would refuse, before it does.
func (id *Identity) checkChain() error {
	between := x509.NewCertPool()
	for _, der := range id.Certificate.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(c)
	}
	_, err := id.Certificate.Leaf.Verify(x509.VerifyOptions{
		Roots: id.Roots, Intermediates: between, CurrentTime: id.Certificate.Leaf.NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("the certificate of %s: %w", id.Name, err)
	}
	if id.Certificate.Leaf.Subject.CommonName != id.Name {
		return fmt.Errorf("the certificate is of %.64q, not %s", id.Certificate.Leaf.Subject.CommonName, id.Name)
	}
	return nil
}

// Verify checks a whole store: every authority belongs to the root, every file is there and as secret as it must be. What is wrong is
// one error each, joined.
func (s *Store) Verify() error {
	root, err := readCertificate(s.path(rootName + ".crt"))
	if err != nil {
		return err
	}
	var errs []error
	if string(encodeCertificates(root)) != s.trust.Authority {
		errs = append(errs, fmt.Errorf("%s names another root than %s", s.TrustFile(), s.path(rootName+".crt")))
	}
	if _, err := readAuthority(s.path(rootName+".crt"), s.rootKeyFile()); err != nil && !errors.Is(err, fs.ErrNotExist) { // offline is fine
		errs = append(errs, err)
	}
	for _, x := range s.state.Sites {
		a, err := readAuthority(s.path(x.Authority+".crt"), s.path(x.Authority+".key"))
		if err == nil {
			err = a.cert.CheckSignatureFrom(root)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("authority of site %q: %w", x.Site, err))
		}
	}
	return errors.Join(errs...)
}
