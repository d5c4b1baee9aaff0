package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/weir-sensor/weir/pkg/wire"
)

// syslog sends RFC 5424 messages: in datagrams to a Unix socket or by UDP (RFC 5426), or by TCP and TLS with octet counting (RFC 6587,
// RFC 5425). Alerts are rare, so each has a connection of its own: a server that was started anew is found.
type syslog struct {
	network, address string
	tls              bool
	host             string
	now              func() time.Time
}

func newSyslog(u *url.URL) *syslog {
	s := &syslog{network: u.Scheme, address: u.Host, now: time.Now}
	switch u.Scheme {
	case "unix":
		s.address = u.Path
	case "tls":
		s.network, s.tls = "tcp", true
	}
	if port := map[string]string{"udp": "514", "tcp": "601", "tls": "6514"}[u.Scheme]; port != "" && u.Port() == "" {
		s.address = net.JoinHostPort(u.Hostname(), port)
	}
	s.host, _ = os.Hostname()
	return s
}

func (s *syslog) name() string { return "syslog " + s.address }

// Numbers of RFC 5424, section 6.2.1.
const (
	facilityDaemon   = 3
	severityCritical = 2
	severityWarning  = 4
	severityNotice   = 5
)

// element is the structured data's name. The number is RFC 5612's for examples: weir has none of its own.
const element = "weir@32473"

func (s *syslog) format(n Notice) (string, error) {
	level := severityCritical
	switch {
	case n.cleared():
		level = severityNotice
	case n.Severity == Warning:
		level = severityWarning
	}
	m := &rfc5424.SyslogMessage{}
	m.SetPriority(uint8(8*facilityDaemon + level))
	m.SetVersion(1)
	m.SetTimestamp(at(n.Alert.Timestamp, 0).Format("2006-01-02T15:04:05.000000Z07:00"))
	m.SetHostname(orNil(s.host))
	m.SetAppname("weir")
	m.SetProcID(strconv.Itoa(os.Getpid()))
	m.SetMsgID("alert")
	for _, p := range []struct{ name, value string }{
		{"server", n.Root.String()}, {"metric", n.Alert.Metric}, {"state", n.Alert.State}, {"value", number(n.Alert.Value)},
		{"level", number(n.Alert.Threshold)}, {"cause", n.Alert.Cause}, {"id", n.ID},
	} {
		m.SetParameter(element, p.name, wire.Describe([]byte(p.value)))
	}
	m.SetMessage(fmt.Sprintf("%s: %s", n.Alert.State, wire.Describe([]byte(n.Alert.Alert))))
	return m.String()
}

func orNil(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (s *syslog) send(ctx context.Context, n Notice) error {
	text, err := s.format(n)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	c, framed, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })() // a full socket mustn't hold up the end
	if framed {
		text = fmt.Sprintf("%d %s", len(text), text)
	}
	if _, err := io.WriteString(c, text); err != nil {
		return plain(err)
	}
	if framed {
		return s.awaitEnd(c)
	}
	return nil
}

// dial tells whether messages must be framed, too. A Unix socket is one of datagrams, or else a stream.
func (s *syslog) dial(ctx context.Context) (c net.Conn, framed bool, err error) {
	d := &net.Dialer{}
	switch {
	case s.network == "unix":
		if c, err = d.DialContext(ctx, "unixgram", s.address); err != nil {
			c, err = d.DialContext(ctx, "unix", s.address)
			framed = true
		}
	case s.tls:
		c, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, s.network, s.address)
		framed = true
	default:
		c, err = d.DialContext(ctx, s.network, s.address)
		framed = s.network == "tcp"
	}
	return c, framed, plain(err)
}

// goodbye is how long a server may take to end the connection, too: syslog has no acknowledgement, but this tells of a reset.
const goodbye = time.Second

func (s *syslog) awaitEnd(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return plain(err)
	}
	defer time.AfterFunc(goodbye, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) }).Stop() // sets no later one than that of the attempt
	_, err := c.Read(make([]byte, 1))
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return plain(err)
}

// plain leaves out the addresses, which the name has told.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
