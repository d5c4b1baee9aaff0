package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const sealTopic = "<103795587>/bank_server/control/command"

// The key of test 1 in RFC 8032 section 7.1.
var (
	sealSeed = []byte("\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60")
	sealKey  = ed25519.NewKeyFromSeed(sealSeed)
)

func sealOf(keyID string) (ed25519.PublicKey, error) {
	if keyID != "operator-k3v2q2xd" {
		return nil, fmt.Errorf("nobody knows %s", keyID)
	}
	return sealKey.Public().(ed25519.PublicKey), nil
}

func sealed(t testing.TB, payload string, seq uint64) []byte {
	t.Helper()
	b, err := Sign(sealTopic, []byte(payload), "operator-k3v2q2xd", seq, sealKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const unsigned = `{"command": "enable_rate_limiting", "reason": "<a> & é", "timestamp": 1795465581.25}`

// What is on the wire is a contract: this very text must be good for ever.
func TestSealIsAsItWas(t *testing.T) {
	got := string(sealed(t, unsigned, 7))
	const want = `{"command": "enable_rate_limiting", "reason": "<a> & é", "timestamp": 1795465581.25,"kid":"operator-k3v2q2xd","seq":7,"sig":"4ZajnLigD-kWB8-o0SMlxCe1dfZhzq4P7noSBInRvdbxAc45k8j75I0CgaRuUqx9pXwuBi7Al80e56sCAqc9Bw"}`
	if got != want {
		t.Errorf("\n%s, was\n%s", got, want)
	}
}

func TestSealRoundTrip(t *testing.T) {
	b := sealed(t, unsigned, 7)
	s, err := Verify(sealTopic, b, sealOf)
	if err != nil || s != (Seal{"operator-k3v2q2xd", 7, 1795465581.25, false}) {
		t.Errorf("%+v, %v", s, err)
	}
	if c, err := DecodeCommand(b); err != nil || c.Command != EnableRateLimiting {
		t.Errorf("%+v, %v", c, err)
	}
	// Another order, other spaces, other escapes: the same message.
	i := bytes.LastIndex(b, []byte(`,"kid"`))
	other := []byte("\n{ " + string(b[i+1:len(b)-1]) + `, "timestamp":1795465581.25,` + "\t" + `"reason": "\u003ca\u003e \u0026 \u00e9", "command": "enable_rate_limiting" }`)
	if s, err := Verify(sealTopic, other, sealOf); err != nil || s.Seq != 7 {
		t.Errorf("%s: %v", other, err)
	}
}

func TestAlteredIsRefused(t *testing.T) {
	b := string(sealed(t, unsigned, 7))
	for name, text := range map[string]string{
		"another command":  strings.Replace(b, "enable", "disable", 1),
		"another number":   strings.Replace(b, `"seq":7`, `"seq":8`, 1),
		"another time":     strings.Replace(b, "581.25", "582.25", 1),
		"a member more":    strings.Replace(b, `{"command"`, `{"ttl_seconds": 5, "command"`, 1),
		"a member less":    strings.Replace(b, `"reason": "<a> & é", `, "", 1),
		"another key":      strings.Replace(b, "k3v2q2xd", "k3v2q2xe", 1),
		"no signature":     b[:strings.Index(b, `,"sig"`)] + "}",
		"a short one":      b[:strings.Index(b, `,"sig"`)] + `,"sig":"AAAA"}`,
		"a null one":       b[:strings.Index(b, `,"sig"`)] + `,"sig":null}`,
		"a member twice":   strings.Replace(b, `{"command"`, `{"command": "disable_rate_limiting", "command"`, 1),
		"twice, deeper":    strings.Replace(b, `{"command"`, `{"x": {"a": 1, "a": 2}, "command"`, 1),
		"beyond 2^53":      strings.Replace(b, `"seq":7`, `"seq":9007199254740993`, 1),
		"beyond all":       strings.Replace(b, `"seq":7`, `"seq":1e999`, 1),
		"a fraction":       strings.Replace(b, `"seq":7`, `"seq":7.5`, 1),
		"negative":         strings.Replace(b, `"seq":7`, `"seq":-7`, 1),
		"nested deeply":    strings.Replace(b, `{"command"`, `{"x": `+strings.Repeat("[", 60_000)+strings.Repeat("]", 4000)+`, "command"`, 1),
		"nested too deep":  strings.Replace(b, `{"command"`, `{"x": `+strings.Repeat("[", 30)+strings.Repeat("]", 30)+`, "command"`, 1),
		"a lone surrogate": strings.Replace(b, "é", `\ud800`, 1),
		"nothing":          "",
		"a list":           "[" + b + "]",
	} {
		if s, err := Verify(sealTopic, []byte(text), sealOf); err == nil || errors.Is(err, ErrUnsigned) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	for _, topic := range []string{"", sealTopic + "x", strings.Replace(sealTopic, "bank", "north", 1), "<103795587>/bank_server/alerts"} {
		if _, err := Verify(topic, []byte(b), sealOf); err == nil {
			t.Errorf("it is good for %q, too", topic)
		}
	}
	if _, err := Verify(sealTopic, []byte(unsigned), sealOf); !errors.Is(err, ErrUnsigned) {
		t.Error(err)
	}
}

func TestNotToBeSigned(t *testing.T) {
	for name, payload := range map[string]string{
		"no time": `{"command": "x"}`, "signed already": string(sealed(t, unsigned, 7)), "no object": `[1]`, "broken": `{"timestamp": 1`, "too large": `{"timestamp": 1, "x": "` +
			strings.Repeat("x", MaxPayload-60) + `"}`, "beyond 2^53": `{"timestamp": 1, "x": 9007199254740993}`,
	} {
		if b, err := Sign(sealTopic, []byte(payload), "operator-k3v2q2xd", 1, sealKey); err == nil {
			t.Errorf("%s: %.100s", name, b)
		}
	}
	for _, seq := range []uint64{0, MaxSeq + 1} {
		if _, err := Sign(sealTopic, []byte(unsigned), "operator-k3v2q2xd", seq, sealKey); err == nil {
			t.Errorf("number %d is taken", seq)
		}
	}
	if b, err := Sign(sealTopic, []byte(unsigned), "operator-k3v2q2xd", MaxSeq, sealKey); err != nil {
		t.Errorf("%s, %v", b, err)
	}
}

func TestStamp(t *testing.T) {
	now := time.UnixMicro(1_795_465_581_250_000)
	for text, want := range map[string]string{
		`{}`: `{"timestamp":1795465581.250000}`, ` { "a": 1 } `: `{ "a": 1,"timestamp":1795465581.250000}`, `{"timestamp": 5}`: `{"timestamp": 5}`,
	} {
		if got, err := Stamp([]byte(text), now); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	if _, err := Stamp([]byte("hello"), now); err == nil {
		t.Error("no object is stamped")
	}
}

// Nobody without the key makes anything that is good.
func FuzzVerify(f *testing.F) {
	b := string(sealed(f, unsigned, 7))
	good, err := Verify(sealTopic, []byte(b), sealOf)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealTopic, b)
	f.Add(sealTopic, unsigned)
	f.Add("", `{"kid":"operator-k3v2q2xd","seq":1,"timestamp":1,"sig":"`+strings.Repeat("A", 86)+`"}`)
	f.Fuzz(func(t *testing.T, topic, payload string) {
		s, err := Verify(topic, []byte(payload), sealOf)
		if err != nil {
			return
		}
		c, err := DecodeCommand([]byte(payload))
		if s != good || topic != sealTopic || err != nil || c.Command != EnableRateLimiting {
			t.Errorf("%q on %q is good: %+v, %+v, %v", payload, topic, s, c, err)
		}
	})
}

// What is ambiguous is the same to encoding/json.
func FuzzUnambiguous(f *testing.F) {
	for _, s := range []string{
		unsigned, `{"a":[1,-2.5e3,{"b":"}]\\""}]}`, `{"a":9007199254740992}`, `{"a":-9007199254740991}`, `{"a":1e400}`, `{"9":"1e400\"9e99"}`,
		`{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		if _, err := parseObject([]byte(payload)); err != nil {
			return
		}
		want, depth := true, 0
		d := json.NewDecoder(strings.NewReader(payload))
		d.UseNumber()
		for want {
			token, err := d.Token()
			if err != nil {
				break
			}
			switch v := token.(type) {
			case json.Delim:
				if v == '{' || v == '[' {
					depth++
				} else {
					depth--
				}
				want = depth <= maxDepth
			case json.Number:
				n, err := v.Float64()
				want = err == nil && n <= MaxSeq && n >= -MaxSeq
			}
		}
		if err := unambiguous([]byte(payload)); (err == nil) != want {
			t.Errorf("%q: %v", payload, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	payload := sealed(b, unsigned, 7)
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			sealed(b, unsigned, 7)
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, err := Verify(sealTopic, payload, sealOf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
