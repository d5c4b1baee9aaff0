package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gowebpki/jcs"
)

// Seal is what a signed payload says of its signing. The signature covers the topic, too: a message can't be moved to another one.
type Seal struct {
	KeyID     string  // whose key
	Seq       uint64  // higher than in any message before by that key
	Timestamp float64 // Unix seconds, the payload's own
	Will      bool    // it was signed when its sender connected, to be published when he is lost
}

// The members that sealing adds.
const (
	memberKeyID     = "kid"
	memberSeq       = "seq"
	memberSignature = "sig"
	memberTimestamp = "timestamp"
	memberWill      = "will" // a payload's own
)

const (
	// MaxSeq is the largest whole number that canonical JSON keeps: RFC 7493 section 2.2.
	MaxSeq = 1<<53 - 1

	maxKeyIDBytes = 64
	maxDepth      = 16 // of nesting: weir's own payloads have 3

	// sealContext keeps a signature from being taken for one that the same key made for something else.
	sealContext = "weir message v1\x00"
)

// ErrUnsigned is of a payload without a signature.
var ErrUnsigned = errors.New("it isn't signed")

// Sign adds the members kid, seq and sig to a payload, which must have a timestamp. The rest of its text stays as it is.
func Sign(topic string, payload []byte, keyID string, seq uint64, key ed25519.PrivateKey) ([]byte, error) {
	members, err := parseObject(payload)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	for _, name := range []string{memberKeyID, memberSeq, memberSignature} {
		if _, there := members[name]; there {
			return nil, fmt.Errorf("sign: %q is there already: leave it out", name)
		}
	}
	if _, there := members[memberTimestamp]; !there {
		return nil, errors.New(`sign: no "timestamp", in Unix seconds`)
	}
	if keyID == "" || len(keyID) > maxKeyIDBytes || seq == 0 || seq > MaxSeq {
		return nil, fmt.Errorf("sign: key ID %.80q or sequence number %d is out of bounds", keyID, seq)
	}
	id, err := json.Marshal(keyID)
	if err != nil {
		return nil, err
	}
	rest := bytes.TrimSuffix(bytes.TrimSpace(payload), []byte("}"))
	rest = append(bytes.TrimSpace(rest), `,"`+memberKeyID+`":`...)
	rest = append(append(rest, id...), `,"`+memberSeq+`":`...)
	rest = strconv.AppendUint(rest, seq, 10)
	message, err := signedText(topic, append(bytes.Clone(rest), '}'))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signature := base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, message))
	out := append(rest, `,"`+memberSignature+`":"`+signature+`"}`...)
	if len(out) > MaxPayload {
		return nil, fmt.Errorf("sign: %w", tooLarge(len(out)))
	}
	return out, nil
}

// Stamp gives a payload a timestamp if it has none.
func Stamp(payload []byte, now time.Time) ([]byte, error) {
	members, err := parseObject(payload)
	if err != nil || members[memberTimestamp] != nil {
		return payload, err
	}
	out := bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(payload), []byte("}")))
	out = bytes.Clone(out)
	if len(members) > 0 {
		out = append(out, ',')
	}
	return append(strconv.AppendFloat(append(out, `"`+memberTimestamp+`":`...), Timestamp(now), 'f', 6, 64), '}'), nil
}

// Verify checks a payload's signature by the key that keyOf knows for its key ID. That the key may speak on this topic, and that the
// message is new, is the caller's to judge. The error is ErrUnsigned for a payload that has none of sealing's members.
func Verify(topic string, payload []byte, keyOf func(keyID string) (ed25519.PublicKey, error)) (Seal, error) {
	members, err := parseObject(payload)
	if err != nil {
		return Seal{}, err
	}
	if members[memberSignature] == nil && members[memberKeyID] == nil && members[memberSeq] == nil {
		return Seal{}, ErrUnsigned
	}
	var s Seal
	var text string
	for _, err := range []error{
		member(members, memberKeyID, &s.KeyID), member(members, memberSeq, &s.Seq), member(members, memberTimestamp, &s.Timestamp),
		member(members, memberSignature, &text),
	} {
		if err != nil {
			return Seal{}, err
		}
	}
	if s.KeyID == "" || len(s.KeyID) > maxKeyIDBytes || s.Seq == 0 || s.Seq > MaxSeq {
		return Seal{}, fmt.Errorf("key ID %.80q or sequence number %d is out of bounds", s.KeyID, s.Seq)
	}
	s.Will = string(members[memberWill]) == "true"
	signature, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(signature) != ed25519.SignatureSize {
		return s, fmt.Errorf("sig is no base64url of %d bytes", ed25519.SignatureSize)
	}
	delete(members, memberSignature)
	message, err := signedText(topic, object(members))
	if err != nil {
		return s, err
	}
	key, err := keyOf(s.KeyID)
	if err != nil {
		return s, err
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, message, signature) {
		return s, errors.New("the signature doesn't fit: it was altered, or meant for another topic")
	}
	return s, nil
}

func member(members map[string]json.RawMessage, name string, to any) error {
	raw, ok := members[name]
	if !ok || string(raw) == "null" {
		return fmt.Errorf("%q is missing beside a signature", name)
	}
	if json.Unmarshal(raw, to) != nil {
		return fmt.Errorf("%q has the wrong type", name)
	}
	return nil
}

// object puts members together again, in any order.
func object(members map[string]json.RawMessage) []byte {
	out := []byte{'{'}
	for name, raw := range members {
		quoted, _ := json.Marshal(name) // can't fail: a string
		out = append(append(append(append(out, quoted...), ':'), raw...), ',')
	}
	return append(bytes.TrimSuffix(out, []byte{','}), '}')
}

// signedText is what is signed: the context, the topic, and the payload in the form of RFC 8785, so that spaces and the order of
// members are free.
func signedText(topic string, payload []byte) ([]byte, error) {
	if err := unambiguous(payload); err != nil {
		return nil, err
	}
	canonical, err := jcs.Transform(payload)
	if err != nil {
		return nil, fmt.Errorf("no canonical form: %.100s", err.Error())
	}
	text := make([]byte, 0, len(sealContext)+len(topic)+1+len(canonical))
	text = append(append(append(text, sealContext...), topic...), 0)
	return append(text, canonical...), nil
}

// unambiguous refuses what has a canonical form that readers may understand differently: whole numbers that lose digits in it. It
// refuses deep nesting, too, before anything recurses into it. The payload is JSON, as parseObject has found.
func unambiguous(payload []byte) error {
	depth := 0
	for i := 0; i < len(payload); i++ {
		switch c := payload[i]; {
		case c == '"':
			i = endOfString(payload, i)
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested deeper than %d", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || c >= '0' && c <= '9':
			begin := i
			for i+1 < len(payload) && strings.IndexByte("+-.0123456789Ee", payload[i+1]) >= 0 {
				i++
			}
			number := string(payload[begin : i+1])
			if f, err := strconv.ParseFloat(number, 64); err != nil || f > MaxSeq || f < -MaxSeq {
				return fmt.Errorf("number %.30s is beyond what JSON keeps exactly, 2^53: write it as a string", number)
			}
		}
	}
	return nil
}
