package bus

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// explain says what to do about an attempt that failed.
func explain(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "start the broker, or name another with --broker"
	case errors.As(err, &dns):
		return "check the host name in --broker"
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return "check the user name and password, or whether the broker has read a trust file that knows the identity"
	case errors.As(err, &certificate):
		return "the broker isn't who it must be: check its certificate, its name in --broker, and this clock"
	case errors.As(err, &alert):
		return "the broker refuses this TLS: check the identity's certificate, and whether it is revoked or ended"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return "the broker rejects the client ID: choose another"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "check the address in --broker and the firewall between"
	}
	return "check that --broker names an MQTT broker and the right port and scheme"
}
