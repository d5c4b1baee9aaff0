package bus

import (
	"strings"
	"testing"
)

func TestPlaintextStaysHere(t *testing.T) {
	for broker, want := range map[string]bool{
		"tcp://127.0.0.1": true, "tcp://localhost:1884": true, "tcp://[::1]": true, "ws://127.0.0.2:8083": true, "tls://bank.example": true, "wss://192.0.2.1": true,
		"tcp://192.0.2.1": false, "mqtt://bank.example": false, "ws://[2001:db8::1]": false, "tcp://localhost.example": false,
	} {
		err := Options{Broker: broker}.Validate()
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "--insecure-plaintext") {
			t.Errorf("%s: %v", broker, err)
		}
		if err := (Options{Broker: broker, Plaintext: true}).Validate(); err != nil {
			t.Errorf("%s, asked for: %v", broker, err)
		}
		if secret := strings.Replace(broker, "://", "://user:secret@", 1); err != nil {
			if err := (Options{Broker: secret}).Validate(); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		}
	}
}
