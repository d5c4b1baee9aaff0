package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// cluster is no Kubernetes. It is a TLS server that answers as the API's documentation says of the two resources that weir uses: versions
// and conflicts, Status objects, status codes, and a controller that makes pods available after a while.
// https://kubernetes.io/docs/reference/using-api/api-concepts/
type cluster struct {
	*httptest.Server
	t *testing.T

	mu         sync.Mutex
	kind       string
	replicas   int
	version    int
	available  int
	generation int
	ready      time.Duration // until a pod is
	since      time.Time     // the last change
	broken     string        // why pods don't come, "" for nothing
	meddle     func()        // before a PUT is looked at
	refuse     []int         // codes of the next answers
	asked      []string
	user       func(*http.Request) bool
}

const token = "s3cret"

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, kind: "deployments", replicas: 2, available: 2, version: 7, generation: 1, ready: 300 * time.Millisecond, since: time.Now()}
	c.user = func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token }
	c.Server = httptest.NewUnstartedServer(c)
	c.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	object := "/apis/apps/v1/namespaces/bank/" + c.kind + "/web"
	switch {
	case !c.user(r):
		c.status(w, http.StatusUnauthorized, "Unauthorized")
	case len(c.refuse) > 0:
		code := c.refuse[0]
		c.refuse = c.refuse[1:]
		c.status(w, code, `deployments.apps "web" is forbidden: User "weir" cannot update resource`)
	case r.URL.Path != object && r.URL.Path != object+"/scale":
		c.status(w, http.StatusNotFound, `deployments.apps "web" not found`)
	case r.Method == http.MethodGet && r.URL.Path == object:
		c.workload(w)
	case r.Method == http.MethodGet:
		c.scale(w)
	case r.Method == http.MethodPut && r.URL.Path == object+"/scale":
		if c.meddle != nil {
			c.meddle()
		}
		c.put(w, r)
	default:
		c.status(w, http.StatusMethodNotAllowed, "the server does not allow this method on the requested resource")
	}
}

func (c *cluster) put(w http.ResponseWriter, r *http.Request) {
	var s scale
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil || s.Kind != "Scale" || s.APIVersion != "autoscaling/v1" ||
		s.Metadata.Name != "web" || s.Metadata.Namespace != "bank" || r.Header.Get("Content-Type") != "application/json" {
		c.status(w, http.StatusBadRequest, fmt.Sprintf("%+v: %v", s, err))
		return
	}
	if s.Metadata.ResourceVersion != fmt.Sprint(c.version) {
		c.status(w, http.StatusConflict, "Operation cannot be fulfilled: the object has been modified")
		return
	}
	c.set(s.Spec.Replicas)
	c.scale(w)
}

// set is a change of the specification, by whomever.
func (c *cluster) set(n int) {
	c.settle()
	c.replicas, c.version, c.generation, c.since = n, c.version+1, c.generation+1, time.Now()
	c.available = min(c.available, n)
}

// settle is what the controller has done by now.
func (c *cluster) settle() {
	if time.Since(c.since) > c.ready && c.broken == "" {
		c.available = c.replicas
	}
}

func (c *cluster) scale(w http.ResponseWriter) {
	fmt.Fprintf(w, `{"kind":"Scale","apiVersion":"autoscaling/v1","metadata":{"name":"web","namespace":"bank","resourceVersion":"%d","uid":"x"},`+
		`"spec":{"replicas":%d},"status":{"replicas":%[2]d,"selector":"app=web"}}`, c.version, c.replicas)
}

func (c *cluster) workload(w http.ResponseWriter) {
	c.settle()
	observed := c.generation
	if time.Since(c.since) < c.ready/2 {
		observed--
	}
	conditions := `{"type":"Available","status":"True","message":"Deployment has minimum availability."}`
	if c.broken != "" {
		message, _ := json.Marshal(c.broken)
		conditions = `{"type":"Available","status":"False","message":"no minimum availability"},{"type":"ReplicaFailure","status":"True","message":` + string(message) + `}`
	}
	fmt.Fprintf(w, `{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"generation":%[1]d},"spec":{"replicas":%[2]d},`+
		`"status":{"observedGeneration":%[3]d,"replicas":%[2]d,"availableReplicas":%[4]d,"conditions":[%[5]s]}}`,
		c.generation, c.replicas, observed, c.available, conditions)
}

func (c *cluster) status(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":%d}`, message, code)
}

func (c *cluster) ca() string { return pemOf("CERTIFICATE", c.Certificate().Raw) }

func pemOf(kind string, b []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// kubeconfig writes one; user is what stands under it.
func (c *cluster) kubeconfig(user string) Credentials {
	c.t.Helper()
	text := fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: bank}}, {name: lost, context: {cluster: c, user: nobody}}]
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: {%s}}]
`, c.URL, b64(c.ca()), user)
	file := filepath.Join(c.t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return Credentials{Kubeconfig: file}
}

func (c *cluster) pool(user string) *Pool {
	c.t.Helper()
	p, err := New(strings.TrimSuffix(c.kind, "s")+"/web", "", c.kubeconfig(user))
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// clientCertificate makes one of a person's own.
func clientCertificate(t *testing.T) (cert, key string, name string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weir"}, NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", raw), pemOf("PRIVATE KEY", der), "weir"
}
