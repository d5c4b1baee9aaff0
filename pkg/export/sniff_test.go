package export

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
)

// TestSniff: who sees all packets learns no name, password, topic or payload.
func TestSniff(t *testing.T) {
	te.Root(t)
	te.Tool(t, "tcpdump")
	w := newWorld(t)
	operator, viewer := w.of(t, trust.Operator, roots[2]), w.of(t, trust.Viewer, roots[2])
	const payload, marker = `{"command":"enable_rate_limiting","reason":"for nobody else"}`, "this is what plaintext looks like"
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			address := k.start(t, w)
			_, port, _ := net.SplitHostPort(address)
			capture := filepath.Join(t.TempDir(), "capture")
			dump := te.Local().Start(t, "tcpdump", "-i", "lo", "-s", "0", "-U", "-w", capture, "-Z", "root", "tcp port "+port)
			dump.Await(t, "listening on lo", 10*time.Second)

			reader := w.session(t, address, viewer)
			wait(t, reader.Subscribe(roots[2].Command(), 1, nil))
			wait(t, w.session(t, address, operator).Publish(roots[2].Command(), 1, false, payload))
			te.Eventually(t, 5*time.Second, "command", func() bool { return reader.has(roots[2].Command(), payload) })
			plain, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			if _, err := plain.Write([]byte(marker)); err != nil {
				t.Fatal(err)
			}
			var seen []byte
			te.Eventually(t, 10*time.Second, "the marker in the capture", func() bool {
				seen, err = os.ReadFile(capture)
				return err == nil && bytes.Contains(seen, []byte(marker))
			})
			dump.Signal(syscall.SIGINT)
			_ = dump.Wait(10 * time.Second)
			for what, secret := range map[string]string{
				"payload": payload, "part of it": "enable_rate_limiting", "topic": roots[2].Command(), "user": operator.Name, "password": operator.Secret,
				"the reader's password": viewer.Secret, "certificate": string(operator.TLS.Certificate[0]),
			} {
				if strings.Contains(string(seen), secret) {
					t.Errorf("the %s is there to be read", what)
				}
			}
		})
	}
}
