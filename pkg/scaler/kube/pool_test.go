package kube

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/scaler"
)

func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func resize(t *testing.T, p *Pool, to int, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	_, err := p.Resize(ctx, to)
	return err
}

func TestUpAndDown(t *testing.T) {
	for _, kind := range []string{"deployments", "statefulsets"} {
		c := newCluster(t)
		c.kind = kind
		p := c.pool("token: " + token)
		for _, to := range []int{3, 3, 1, 4, 2} {
			began := time.Now()
			expect(t, kind, resize(t, p, to, 20*time.Second), "")
			if n, err := p.Size(t.Context()); n != to || err != nil {
				t.Errorf("%s: %d, %v, want %d", kind, n, err, to)
			}
			if to == 4 && time.Since(began) < c.ready {
				t.Errorf("%s: done after %v, before they were available", kind, time.Since(began))
			}
		}
	}
}

func TestConflict(t *testing.T) {
	c := newCluster(t)
	p := c.pool("token: " + token)
	c.meddle = func() { c.version++; c.meddle = nil } // somebody changes its labels
	expect(t, "another's change", resize(t, p, 3, 20*time.Second), "")
	c.meddle = func() { c.set(5); c.meddle = nil }
	expect(t, "another's number", resize(t, p, 4, 20*time.Second), "somebody else scales it, from 3 to 5")
	if c.replicas != 5 {
		t.Errorf("it was overwritten by %d", c.replicas)
	}
	c.meddle = func() { c.version++ }
	expect(t, "for ever", resize(t, p, 4, 20*time.Second), "409")
	c.meddle = nil
	c.ready = time.Hour
	time.AfterFunc(time.Second, func() { c.mu.Lock(); defer c.mu.Unlock(); c.set(2) })
	err := resize(t, p, 6, 20*time.Second)
	expect(t, "while it is waited for", err, "somebody else scales it, from 6 to 2")
	if !errors.Is(err, scaler.ErrOthers) { // else it would be undone
		t.Errorf("%#v", err)
	}
}

func TestPodsThatDontCome(t *testing.T) {
	c := newCluster(t)
	p := c.pool("token: " + token)
	c.broken = "pods \"web-\" is forbidden: exceeded quota\x1b[2J"
	err := resize(t, p, 3, time.Second)
	expect(t, "quota", err, `2 of 3 replicas are available: no minimum availability; pods "web-" is forbidden: exceeded quota\u001b`)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, scaler.ErrUnwell) {
		t.Errorf("%#v", err)
	}
	expect(t, "undone, though it is broken", resize(t, p, 2, 10*time.Second), "")
	c.mu.Lock()
	c.available = 1
	c.mu.Unlock()
	if err := resize(t, p, 2, time.Second); !errors.Is(err, scaler.ErrUnwell) {
		t.Errorf("the number is right: %v", err)
	}
}

func TestRefused(t *testing.T) {
	c := newCluster(t)
	p := c.pool("token: " + token)
	for _, row := range []struct {
		codes []int
		want  string
	}{
		{[]int{403}, "says 403: deployments.apps \"web\" is forbidden: User \"weir\" cannot update resource: see docs/operations.md"},
		{[]int{429, 503}, ""},
		{[]int{302}, "says 302"},
		{[]int{500}, "says 500"},
		{[]int{200, 200}, ""}, // a Status object, in which there is no number
	} {
		c.refuse = row.codes
		if row.codes[0] == 200 {
			c.refuse = nil
		}
		expect(t, row.want, resize(t, p, 2, 20*time.Second), row.want)
	}
	expect(t, "bad token", resize(t, c.pool("token: other"), 3, time.Second), "says 401: Unauthorized: has the token or the certificate ended?")
	p.name = "nope"
	expect(t, "no such workload", resize(t, p, 3, time.Second), `says 404: deployments.apps "web" not found`)
	p.name = "web"
	c.Close()
	expect(t, "nobody there", resize(t, p, 3, time.Second), "can't be reached: dial tcp")
	if c.replicas != 2 {
		t.Errorf("%d replicas", c.replicas)
	}
}

func TestNotKubernetes(t *testing.T) {
	c := newCluster(t)
	c.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello")) })
	expect(t, "a web page", resize(t, c.pool("token: x"), 3, time.Second), `answers what isn't Kubernetes's: "<html>hello"`)
}

func TestCredentials(t *testing.T) {
	c := newCluster(t)
	cert, key, name := clientCertificate(t)
	dir := t.TempDir()
	write := func(file, text string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, user := range []string{
		"token: " + token,
		"tokenFile: " + write("token", token+"\n"),
	} {
		_, err := c.pool(user).Size(t.Context())
		expect(t, user, err, "")
	}
	c.user = func(r *http.Request) bool {
		return len(r.TLS.PeerCertificates) == 1 && r.TLS.PeerCertificates[0].Subject.CommonName == name
	}
	for _, user := range []string{
		"client-certificate-data: " + b64(cert) + ", client-key-data: " + b64(key),
		"client-certificate: " + write("cert", cert) + ", client-key: " + write("key", key),
	} {
		_, err := c.pool(user).Size(t.Context())
		expect(t, user, err, "")
	}
	for user, want := range map[string]string{
		"exec: {command: gke-gcloud-auth-plugin}": "weir starts no program for credentials",
		"auth-provider: {name: oidc}":             "weir starts no program for credentials",
		"":                                        "neither token, tokenFile nor client-certificate",
		"client-certificate-data: " + b64(cert):   "neither token",
		"client-certificate-data: '?', client-key-data: x":             "isn't base64",
		"client-certificate-data: aGVsbG8=, client-key-data: aGVsbG8=": "client certificate:",
		"client-certificate: /nowhere, client-key: /nowhere":           "/nowhere: no such file",
		"tokenFile: /nowhere": "/nowhere: no such file",
	} {
		p, err := New("deployment/web", "", c.kubeconfig(user))
		expect(t, user, err, "") // the controller starts all the same
		expect(t, user, p.Check(), want)
		_, err = p.Size(t.Context())
		expect(t, user, err, want)
	}
	lost := c.kubeconfig("token: x")
	for context, want := range map[string]string{"lost": `no user "nobody"`, "nope": `no context "nope"`} {
		lost.Context = context
		p, err := New("deployment/web", "", lost)
		expect(t, context, err, "")
		expect(t, context, p.Check(), want)
	}
}

// Credentials that others may read are refused, wherever they are; it is tried again with the next command.
func TestCredentialsThatOthersCanRead(t *testing.T) {
	c := newCluster(t)
	cert, key, _ := clientCertificate(t)
	dir := t.TempDir()
	for _, row := range []struct{ user, file, text string }{
		{"token: " + token, "", ""},
		{"client-certificate-data: " + b64(cert) + ", client-key-data: " + b64(key), "", ""},
		{"tokenFile: " + filepath.Join(dir, "token"), "token", token},
		{"client-certificate-data: " + b64(cert) + ", client-key: " + filepath.Join(dir, "key"), "key", key},
	} {
		creds := c.kubeconfig(row.user)
		file := creds.Kubeconfig
		if row.file != "" {
			file = filepath.Join(dir, row.file)
			if err := errors.Join(os.WriteFile(file, []byte(row.text), 0o600), os.Chmod(creds.Kubeconfig, 0o644)); err != nil { // it holds no secret
				t.Fatal(err)
			}
		}
		p, err := New("deployment/web", "", creds)
		expect(t, row.user, err, "")
		expect(t, row.user, p.Check(), "")
		for mode, want := range map[os.FileMode]string{0o644: file + " can be read by others: chmod 600 " + file, 0o600: ""} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			expect(t, row.user, p.Check(), want)
		}
	}
}

// Somebody scales between the count, on which it was decided what there is to be, and the change.
func TestChangedSinceCounted(t *testing.T) {
	c := newCluster(t)
	p := c.pool("token: " + token)
	size := func(want int) {
		t.Helper()
		if n, err := p.Size(t.Context()); n != want || err != nil {
			t.Fatalf("%d, %v, want %d", n, err, want)
		}
	}
	size(2)
	c.set(5)
	err := resize(t, p, 3, 20*time.Second)
	expect(t, "another's number", err, "somebody else scales it, from 2 to 5")
	if !errors.Is(err, scaler.ErrOthers) || c.replicas != 5 {
		t.Errorf("%d replicas, %#v", c.replicas, err)
	}
	size(5)
	c.version++ // another's change that isn't the number's
	expect(t, "after a new count", resize(t, p, 6, 20*time.Second), "")
	c.set(4)
	expect(t, "another's number after ours", resize(t, p, 5, 20*time.Second), "somebody else scales it, from 6 to 4") // as to undo it
	size(4)
	c.set(3)
	expect(t, "as wanted already", resize(t, p, 3, 20*time.Second), "")
	c.meddle = func() { c.set(4); c.meddle = nil; panic(http.ErrAbortHandler) } // it is done, and the answer is lost
	expect(t, "an answer that is lost", resize(t, p, 4, 20*time.Second), "can't be reached")
	expect(t, "undone", resize(t, p, 3, 20*time.Second), "")
}

// TestInPod plays a pod by its variables and a folder.
func TestInPod(t *testing.T) {
	c := newCluster(t)
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"token": token, "ca.crt": c.ca(), "namespace": "bank"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", u.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", u.Port())
	p := &Pool{credentials: Credentials{pod: dir}, kind: "deployments", name: "web"}
	p.known.Store(unknown)
	expect(t, "in a pod", resize(t, p, 3, 20*time.Second), "")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.user = func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer rotated" }
	c.mu.Unlock()
	expect(t, "with a new token", resize(t, p, 2, 20*time.Second), "")
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte(newCertificate(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, "another authority", resize(t, p, 3, 2*time.Second), "certificate")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	nowhere, err := New("deployment/web", "", Credentials{})
	expect(t, "names", err, "")
	expect(t, "no pod", nowhere.Check(), "give scaling.kubernetes.kubeconfig")
}

func newCertificate(t *testing.T) string { cert, _, _ := clientCertificate(t); return cert }

func TestNames(t *testing.T) {
	c := newCluster(t)
	for _, row := range [][2]string{{"web", ""}, {"pod/web", ""}, {"deployment/", ""}, {"deployment/../x", ""}, {"deployment/web", "a/b"}, {"deployment/a?b", ""}} {
		if _, err := New(row[0], row[1], c.kubeconfig("token: x")); err == nil || !strings.Contains(err.Error(), "scaling.kubernetes") {
			t.Errorf("%q: %v", row, err)
		}
	}
}

func FuzzKubeconfig(f *testing.F) {
	f.Add("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://[::1]:6443'}}]\nusers: [{name: u, user: {token: x}}]", "")
	f.Add("users: [{user: {exec: {}}}]", "a")
	f.Add("clusters: &a [*a]", "")
	f.Fuzz(func(t *testing.T, text, context string) {
		a, err := parseKubeconfig([]byte(text), "/nowhere", context)
		if err == nil && (a.client == nil || !strings.HasPrefix(a.server, "https://")) {
			t.Errorf("%+v", a)
		}
	})
}
