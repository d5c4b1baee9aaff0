package testenv

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Message is what an MQTT client that isn't ours has received.
type Message struct {
	At       time.Time
	Topic    string
	Payload  []byte
	QoS      int
	Retained bool
}

// Observer is a running mosquitto_sub.
type Observer struct {
	process *Process
}

// Observe subscribes to filters (none: everything) at a broker as the host reaches it, host:port, and returns once the
// broker has agreed. It waits for a broker that is only starting, at most 10 s, and reconnects when the broker was away.
func Observe(t testing.TB, h *Host, broker string, filters ...string) *Observer {
	t.Helper()
	Tool(t, "mosquitto_sub", "stdbuf")
	if filters == nil {
		filters = []string{"#"}
	}
	// -d tells of the subscription, by lines that would stay in a pipe's buffer until the first message. Payloads come in
	// hex, since they may hold line breaks.
	args := append([]string{"-oL", "mosquitto_sub"}, brokerArgs(t, broker)...)
	args = append(args, "-d", "-q", "1", "-F", MessageFormat)
	for _, f := range filters {
		args = append(args, "-t", f)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		p := h.Start(t, "stdbuf", args...)
		for !strings.Contains(p.Output(), "Subscribed (mid") {
			select {
			case <-p.Done():
			case <-time.After(5 * time.Millisecond):
				if time.Now().Before(deadline) {
					continue
				}
			}
			break
		}
		if strings.Contains(p.Output(), "Subscribed (mid") {
			return &Observer{process: p}
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto_sub at %s: %s", broker, p.Output())
		}
	}
}

const (
	marker = "message\t"

	// MessageFormat is what a mosquitto_sub must be given by -F for ObserverOf. The topic comes last, since it may hold anything.
	MessageFormat = `message\t%U\t%r\t%q\t%x\t%t`
)

// ObserverOf reads what a mosquitto_sub prints that was started otherwise, with -F MessageFormat.
func ObserverOf(p *Process) *Observer { return &Observer{process: p} }

// Messages are all that have come so far.
func (o *Observer) Messages() []Message {
	var messages []Message
	out := o.process.Output()
	out = out[:strings.LastIndexByte(out, '\n')+1] // without a line that is only half there
	for line := range strings.Lines(out) {
		if m, ok := parseMessage(strings.TrimSuffix(line, "\n")); ok {
			messages = append(messages, m)
		}
	}
	return messages
}

func parseMessage(line string) (Message, bool) {
	rest, ok := strings.CutPrefix(line, marker)
	f := strings.SplitN(rest, "\t", 5)
	if !ok || len(f) != 5 {
		return Message{}, false
	}
	at, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		return Message{}, false
	}
	payload, err := hex.DecodeString(f[3])
	if err != nil {
		return Message{}, false
	}
	seconds, fraction := math.Modf(at)
	qos, _ := strconv.Atoi(f[2])
	return Message{
		At: time.Unix(int64(seconds), int64(fraction*1e9)), Topic: f[4], Payload: payload, QoS: qos, Retained: f[1] == "1",
	}, true
}

// Await waits for a message, which may have come already, and gives the first that matches; the test ends if none does.
func (o *Observer) Await(t testing.TB, timeout time.Duration, what string, match func(Message) bool) Message {
	t.Helper()
	var found Message
	Eventually(t, timeout, what, func() bool {
		for _, m := range o.Messages() {
			if match(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// Publish publishes one message by mosquitto_pub, whose further arguments ("-r", "-q", "1") may be given.
func Publish(t testing.TB, h *Host, broker, topic string, payload []byte, args ...string) {
	t.Helper()
	Tool(t, "mosquitto_pub")
	source := "-s"
	if len(payload) == 0 {
		source = "-n"
	}
	args = append(append(brokerArgs(t, broker), "-t", topic, source), args...)
	cmd := h.Command(t.Context(), "mosquitto_pub", args...)
	cmd.Stdin = bytes.NewReader(payload)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub -t %q at %s: %v\n%s", topic, broker, err, out)
	}
}

// Mosquitto starts a broker that isn't ours on the host's loopback and gives its address.
func Mosquitto(t testing.TB, h *Host) string {
	t.Helper()
	Tool(t, "mosquitto")
	addr := freePort(t, h)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d %s\nallow_anonymous true\nuser root\n", addr.Port(), addr.Addr())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Start(t, "mosquitto", "-c", conf).Await(t, "running", 10*time.Second)
	return addr.String()
}

// freePort is a port of the host's loopback that was free a moment ago.
func freePort(t testing.TB, h *Host) netip.AddrPort {
	t.Helper()
	l := h.Listen(t, netip.MustParseAddrPort("127.0.0.1:0"))
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func brokerArgs(t testing.TB, broker string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-h", host, "-p", port}
}
