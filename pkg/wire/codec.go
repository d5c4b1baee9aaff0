package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Encode writes a payload as one line of JSON, `<`, `>` and `&` as they are: people read it.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(out) > MaxPayload {
		return nil, fmt.Errorf("encode: %d bytes are more than the %d that a message may have", len(out), MaxPayload)
	}
	return out, nil
}

// DecodeCPU reads metrics/cpu.
func DecodeCPU(b []byte) (CPU, error) {
	var v CPU
	err := decode(b, &v, "cpu_usage")
	return v, errors.Join(err, percent("cpu_usage", v.Usage))
}

// DecodeRAM reads metrics/ram.
func DecodeRAM(b []byte) (RAM, error) {
	var v RAM
	err := decode(b, &v, "ram_usage")
	return v, errors.Join(err, percent("ram_usage", v.Usage))
}

// DecodeNetwork reads metrics/network.
func DecodeNetwork(b []byte) (Network, error) {
	var v Network
	err := decode(b, &v, "active_tcp_connections", "syn_packet_count")
	if err == nil && v.ActiveTCPConnections < 0 {
		err = fmt.Errorf("active_tcp_connections is %d", v.ActiveTCPConnections)
	}
	return v, err
}

// DecodeAlert reads alerts.
func DecodeAlert(b []byte) (Alert, error) {
	var v Alert
	err := decode(b, &v, "alert")
	return v, err
}

// DecodeStatus reads status/rate_limiting and status/scaling.
func DecodeStatus(b []byte) (Status, error) {
	var v Status
	err := decode(b, &v, "command", "status")
	if err == nil && v.Status != Success && v.Status != Failure {
		err = fmt.Errorf("status %.64q is neither %s nor %s", v.Status, Success, Failure)
	}
	return v, err
}

// DecodePresence reads status/sensor.
func DecodePresence(b []byte) (Presence, error) {
	var v Presence
	err := decode(b, &v, "state")
	if err == nil && v.State != Online && v.State != Offline {
		err = fmt.Errorf("state %.64q is neither %s nor %s", v.State, Online, Offline)
	}
	return v, err
}

func percent(name string, x float64) error {
	if x < 0 || x > 100 {
		return fmt.Errorf("%s of %g is no percentage", name, x)
	}
	return nil
}

// decode reads one JSON object with at least the required members. Unknown members are ignored.
func decode(b []byte, v any, required ...string) error {
	members, err := parseObject(b)
	if err != nil {
		return err
	}
	for _, name := range required {
		if raw, ok := members[name]; !ok || string(raw) == "null" {
			return fmt.Errorf("%s is missing", name)
		}
	}
	if err := json.Unmarshal(b, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return fmt.Errorf("%.64s has the wrong type: a %.64s", wrong.Field, wrong.Value)
		}
		return errors.New("not JSON of the right form")
	}
	return nil
}

// parseObject splits one JSON object into its members. It refuses what readers would understand differently: duplicate
// members, anything after the object, text that isn't UTF-8. With an error it returns the members before it.
func parseObject(b []byte) (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if len(b) > MaxPayload {
		return members, tooLarge(len(b))
	}
	if !utf8.Valid(b) {
		return members, errors.New("not UTF-8 text")
	}
	if json.Valid(b) && bytes.HasPrefix(bytes.TrimLeft(b, whiteSpace), []byte("{")) {
		return members, split(b, members)
	}
	if err := splitBroken(b, members); err != nil {
		return members, err
	}
	return members, errBroken // whatever the decoder makes of it
}

// splitBroken finds the members before what is wrong, and says what that is.
func splitBroken(b []byte, members map[string]json.RawMessage) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New(`not a JSON object like {"command": "enable_rate_limiting"}`)
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return errBroken
		}
		if _, again := members[name]; again {
			return fmt.Errorf("%.64q is there twice", name)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return errBroken
		}
		members[name] = raw
	}
	if _, err := d.Token(); err != nil {
		return errBroken
	}
	if len(bytes.Trim(b[d.InputOffset():], whiteSpace)) > 0 {
		return errors.New("text after the JSON object")
	}
	return nil
}

var errBroken = errors.New("broken JSON")

func tooLarge(n int) error {
	return fmt.Errorf("%d bytes are more than the %d that a message may have", n, MaxPayload)
}
