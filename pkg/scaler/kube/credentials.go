package kube

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-sensor/weir/pkg/secretfile"
)

// api is an API server, and as whom to talk to it.
type api struct {
	server    string // https://host:port, without a slash at the end
	namespace string
	token     string // "" for a client certificate
	client    *http.Client
	inline    bool // the kubeconfig itself holds the token or the key
}

// Credentials say where they are.
type Credentials struct {
	Kubeconfig string // file; "" for those of the pod
	Context    string // "" for the file's current one
	pod        string // folder of a pod's
}

// podDir is where each pod has its service account: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
const podDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// read is done before each operation: tokens and certificates are renewed in their files.
func (c Credentials) read() (*api, error) {
	if c.Kubeconfig != "" {
		return c.readKubeconfig()
	}
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("weir doesn't run in a pod: give scaling.kubernetes.kubeconfig")
	}
	read := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(c.pod, name)) }
	token, err := read("token")
	if err != nil {
		return nil, fmt.Errorf("the pod's service account: %w", err)
	}
	ca, err := read("ca.crt")
	if err != nil {
		return nil, fmt.Errorf("the pod's service account: %w", err)
	}
	namespace, err := read("namespace")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the pod's service account: %w", err)
	}
	a := &api{server: "https://" + net.JoinHostPort(host, port), namespace: string(namespace), token: strings.TrimSpace(string(token))}
	return a, a.connect(ca, nil, nil, "")
}

// kubeconfig is what of the file counts here: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Contexts       []struct {
		Name    string
		Context struct{ Cluster, User, Namespace string }
	}
	Clusters []struct {
		Name    string
		Cluster struct {
			Server     string
			CA         string `yaml:"certificate-authority"`
			CAData     string `yaml:"certificate-authority-data"`
			ServerName string `yaml:"tls-server-name"`
			Insecure   bool   `yaml:"insecure-skip-tls-verify"`
			Proxy      string `yaml:"proxy-url"`
		}
	}
	Users []struct {
		Name string
		User kubeconfigUser
	}
}

type kubeconfigUser struct {
	Token     string
	TokenFile string    `yaml:"tokenFile"`
	Cert      string    `yaml:"client-certificate"`
	CertData  string    `yaml:"client-certificate-data"`
	Key       string    `yaml:"client-key"`
	KeyData   string    `yaml:"client-key-data"`
	Exec      yaml.Node `yaml:"exec"`
	Provider  yaml.Node `yaml:"auth-provider"`
}

const maxKubeconfig = 1 << 20

func (c Credentials) readKubeconfig() (*api, error) {
	text, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	a, err := parseKubeconfig(text, filepath.Dir(c.Kubeconfig), c.Context)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Kubeconfig, err)
	}
	if a.inline {
		err = secretfile.Check(c.Kubeconfig)
	}
	return a, err
}

// parseKubeconfig takes paths from dir.
func parseKubeconfig(text []byte, dir, context string) (*api, error) {
	var k kubeconfig
	if len(text) > maxKubeconfig || yaml.Unmarshal(text, &k) != nil {
		return nil, errors.New("not a kubeconfig")
	}
	if context == "" {
		context = k.CurrentContext
	}
	for _, x := range k.Contexts {
		if x.Name != context {
			continue
		}
		a := &api{namespace: x.Context.Namespace}
		cert, key, err := k.user(a, x.Context.User, dir)
		if err != nil {
			return nil, err
		}
		return a, k.cluster(a, x.Context.Cluster, dir, cert, key)
	}
	return nil, fmt.Errorf("no context %.100q: see scaling.kubernetes.context", context)
}

func (k *kubeconfig) user(a *api, name, dir string) (cert, key []byte, err error) {
	for _, x := range k.Users {
		u := x.User
		switch {
		case x.Name != name:
			continue
		case !u.Exec.IsZero() || !u.Provider.IsZero():
			return nil, nil, errors.New("weir starts no program for credentials: give it a user with token, tokenFile or client-certificate")
		case u.TokenFile != "":
			file := inDir(dir, u.TokenFile)
			token, err := os.ReadFile(file)
			a.token = strings.TrimSpace(string(token))
			if err == nil {
				err = secretfile.Check(file)
			}
			return nil, nil, err
		case u.Token != "":
			a.token, a.inline = u.Token, true
			return nil, nil, nil
		}
		a.inline = u.KeyData != ""
		cert, err = dataOrFile(u.CertData, u.Cert, dir)
		if err == nil {
			key, err = dataOrFile(u.KeyData, u.Key, dir)
		}
		if err == nil && !a.inline && u.Key != "" {
			err = secretfile.Check(inDir(dir, u.Key))
		}
		if err == nil && (cert == nil || key == nil) {
			err = fmt.Errorf("user %.100q has neither token, tokenFile nor client-certificate with client-key", name)
		}
		return cert, key, err
	}
	return nil, nil, fmt.Errorf("no user %.100q", name)
}

func (k *kubeconfig) cluster(a *api, name, dir string, cert, key []byte) error {
	for _, x := range k.Clusters {
		if x.Name != name {
			continue
		}
		c := x.Cluster
		u, err := url.Parse(c.Server)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("cluster %.100q: want a server like https://192.0.2.1:6443", name)
		case c.Insecure:
			return fmt.Errorf("cluster %.100q: insecure-skip-tls-verify would let anybody stand in for it: give certificate-authority", name)
		case c.Proxy != "":
			return fmt.Errorf("cluster %.100q: proxy-url isn't known here", name)
		}
		a.server = strings.TrimSuffix(c.Server, "/")
		ca, err := dataOrFile(c.CAData, c.CA, dir)
		if err != nil {
			return err
		}
		return a.connect(ca, cert, key, c.ServerName)
	}
	return fmt.Errorf("no cluster %.100q", name)
}

func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// dataOrFile is nil if neither is given.
func dataOrFile(data, file, dir string) ([]byte, error) {
	switch {
	case data != "":
		b, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, errors.New("a certificate or key isn't base64")
		}
		return b, nil
	case file != "":
		return os.ReadFile(inDir(dir, file))
	}
	return nil, nil
}

// requestWait bounds one request.
const requestWait = 10 * time.Second

// connect prepares to; without a ca the system's authorities are believed.
func (a *api) connect(ca, cert, key []byte, serverName string) error {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if ca != nil {
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(ca) {
			return errors.New("no certificate in the certificate authority's")
		}
	}
	if cert != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	a.client = &http.Client{
		Timeout:       requestWait,
		Transport:     &http.Transport{TLSClientConfig: c, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}
