package signin

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	rpHost   = "weir.bank.example"
	rpOrigin = "https://weir.bank.example"
)

// authenticator is a security key, as CTAP and WebAuthn describe one.
type authenticator struct {
	key    *ecdsa.PrivateKey
	id     []byte
	user   string // base64url, as it was told
	count  uint32
	host   string
	origin string
	flags  byte
}

const (
	userPresent  = 1
	userVerified = 4
	attested     = 0x40
)

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	return &authenticator{key: key, id: id, count: 1, host: rpHost, origin: rpOrigin, flags: userPresent | userVerified}
}

func (a *authenticator) data(flags byte) []byte {
	host := sha256.Sum256([]byte(a.host))
	return binary.BigEndian.AppendUint32(append(host[:], flags), a.count)
}

func (a *authenticator) client(kind, challenge string) []byte {
	b, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	return b
}

func (a *authenticator) credential(response map[string]string) string {
	id := base64url.EncodeToString(a.id)
	b, _ := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	return string(b)
}

// make answers the server's options for a new passkey, in CBOR by hand: RFC 8949, RFC 9053 section 7.1.1, WebAuthn section 6.5.
func (a *authenticator) make(t *testing.T, options []byte) string {
	t.Helper()
	var o struct {
		Challenge string
		User      struct{ ID string }
		RP        struct{ ID string }
	}
	must(t, json.Unmarshal(options, &o))
	if o.RP.ID != rpHost || o.User.ID == "" {
		t.Errorf("options: %s", options)
	}
	a.user = o.User.ID
	public, err := a.key.PublicKey.Bytes() // 4, x, y
	must(t, err)
	cose := append([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32}, public[1:33]...)
	cose = append(append(cose, 0x22, 0x58, 32), public[33:]...)
	data := append(a.data(a.flags|attested), make([]byte, 16)...) // no AAGUID
	data = append(append(binary.BigEndian.AppendUint16(data, uint16(len(a.id))), a.id...), cose...)
	object := append([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"), byte(len(data)))
	return a.credential(map[string]string{
		"clientDataJSON": base64url.EncodeToString(a.client("webauthn.create", o.Challenge)), "attestationObject": base64url.EncodeToString(append(object, data...)),
	})
}

// sign answers the server's options for signing in.
func (a *authenticator) sign(t *testing.T, options []byte) string {
	t.Helper()
	var o struct{ Challenge, RPID string }
	must(t, json.Unmarshal(options, &o))
	return a.signed(t, o.Challenge)
}

func (a *authenticator) signed(t *testing.T, challenge string) string {
	t.Helper()
	a.count++
	data, client := a.data(a.flags), a.client("webauthn.get", challenge)
	of := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), of[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	must(t, err)
	return a.credential(map[string]string{
		"clientDataJSON": base64url.EncodeToString(client), "authenticatorData": base64url.EncodeToString(data),
		"signature": base64url.EncodeToString(signature), "userHandle": a.user,
	})
}

func withPasskey(name, password, passkey string) string {
	b, _ := json.Marshal(credentials{Name: name, Password: password, Passkey: json.RawMessage(passkey)})
	return string(b)
}

// passkeyGate has alice, who is signed in, and bob, of the file.
func passkeyGate(t *testing.T) (*Gate, *visitor, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.yaml")
	must(t, replaceUsers(path, []User{user("alice", Operator, shared), user("bob", Viewer, shared)}))
	users, err := ReadUsers(path)
	must(t, err)
	g, err := New(users, Options{Secure: true, SecondFactor: true, Host: rpHost, Origin: rpOrigin, Change: func(f func([]User) ([]User, error)) ([]User, error) {
		return ChangeUsers(path, f)
	}}, slog.New(slog.DiscardHandler))
	must(t, err)
	v := &visitor{t: t, g: g, from: "192.0.2.1"}
	if code, said := v.do("POST", signIn("alice", password, codeAt(t, time.Now()))); code != http.StatusOK {
		t.Fatalf("%d %v", code, said)
	}
	return g, v, path
}

func (v *visitor) token() string {
	v.t.Helper()
	_, said := v.do("GET", "")
	return said["token"].(string)
}

// enrol adds a passkey and returns what the server says.
func (v *visitor) enrol(a *authenticator, name string) (int, string) {
	v.t.Helper()
	code, options := v.ask("POST", "/api/session/enrolment", `{"password": "`+password+`"}`, TokenHeader, v.token())
	if code != http.StatusOK {
		v.t.Fatalf("enrolment: %d %s", code, options)
	}
	b, _ := json.Marshal(map[string]any{"name": name, "passkey": json.RawMessage(a.make(v.t, options))})
	code, said := v.ask("POST", "/api/session/passkeys", string(b), TokenHeader, v.token())
	return code, string(said)
}

func (v *visitor) challenge() []byte {
	v.t.Helper()
	code, options := v.ask("GET", "/api/session/challenge", "")
	if code != http.StatusOK {
		v.t.Fatalf("challenge: %d %s", code, options)
	}
	return options
}

func TestPasskey(t *testing.T) {
	g, alice, path := passkeyGate(t)
	a := newAuthenticator(t)
	if code, said := alice.enrol(a, "blue key"); code != http.StatusOK || !strings.Contains(said, `"name":"blue key"`) || strings.Contains(said, `"key"`) {
		t.Fatalf("%d %s", code, said)
	}
	users, err := ReadUsers(path)
	must(t, err)
	if len(users[0].Passkeys) != 1 || users[0].Passkeys[0].Synced || users[0].TOTP != shared || len(users[1].Passkeys) != 0 {
		t.Fatalf("in the file: %+v", users)
	}
	if code, said := alice.enrol(newAuthenticator(t), "blue key"); code == http.StatusOK {
		t.Errorf("a second of that name: %s", said)
	}
	stranger := func() *visitor { return &visitor{t: t, g: g, from: "192.0.2.2"} }

	v := stranger()
	response := a.sign(t, v.challenge())
	if code, said := v.do("POST", withPasskey("alice", password, response)); code != http.StatusOK || said["name"] != "alice" {
		t.Fatalf("%d %v", code, said)
	}
	from := 0 // each comes from elsewhere
	for name, body := range map[string]func(v *visitor) string{
		"the same again":       func(*visitor) string { return withPasskey("alice", password, response) },
		"without the password": func(v *visitor) string { return withPasskey("alice", "not the password", a.sign(t, v.challenge())) },
		"as somebody else":     func(v *visitor) string { return withPasskey("bob", password, a.sign(t, v.challenge())) },
		"as nobody":            func(v *visitor) string { return withPasskey("carol", password, a.sign(t, v.challenge())) },
		"a challenge of no one's": func(*visitor) string {
			return withPasskey("alice", password, a.signed(t, base64url.EncodeToString(make([]byte, 40))))
		},
		"a short challenge": func(*visitor) string { return withPasskey("alice", password, a.signed(t, "")) },
		"another authenticator": func(v *visitor) string {
			b := newAuthenticator(t)
			b.user = a.user
			return withPasskey("alice", password, b.sign(t, v.challenge()))
		},
		"another's signature": func(v *visitor) string {
			b := newAuthenticator(t)
			b.user, b.id = a.user, a.id
			return withPasskey("alice", password, b.sign(t, v.challenge()))
		},
		"at a phisher's": func(v *visitor) string {
			b := *a
			b.origin = "https://weir.bank.example.phish.example"
			return withPasskey("alice", password, b.sign(t, v.challenge()))
		},
		"for another host": func(v *visitor) string {
			b := *a
			b.host = "bank.example"
			return withPasskey("alice", password, b.sign(t, v.challenge()))
		},
		"with nobody there": func(v *visitor) string {
			b := *a
			b.flags = 0
			return withPasskey("alice", password, b.sign(t, v.challenge()))
		},
		"a copy that counts by itself": func(v *visitor) string {
			b := *a
			b.count = 0
			return withPasskey("alice", password, b.sign(t, v.challenge()))
		},
		"nothing": func(*visitor) string { return withPasskey("alice", password, "{}") },
	} {
		from++
		v := &visitor{t: t, g: g, from: fmt.Sprintf("198.51.100.%d", from)}
		if code, said := v.do("POST", body(v)); code != http.StatusUnauthorized || said["error"] != "name, password or second factor is wrong" || v.cookie != nil {
			t.Errorf("%s: %d %v", name, code, said)
		}
	}

	// Still open sessions hear of what was changed: a passkey that is gone ends what it opened.
	id := users[0].Passkeys[0].ID
	if code, said := alice.ask("DELETE", "/api/session/passkeys?id="+id, ""); code != http.StatusUnauthorized {
		t.Errorf("removed without the token: %d %s", code, said)
	}
	if code, said := alice.ask("DELETE", "/api/session/passkeys?id="+id, "", TokenHeader, alice.token()); code != http.StatusOK || strings.TrimSpace(string(said)) != "[]" {
		t.Errorf("%d %s", code, said)
	}
	if code, _ := v.do("GET", ""); code != http.StatusUnauthorized {
		t.Errorf("opened with a passkey that is gone: %d", code)
	}
	if code, _ := alice.do("GET", ""); code != http.StatusOK {
		t.Errorf("opened with a code: %d", code)
	}
	if code, _ := stranger().do("POST", withPasskey("alice", password, a.sign(t, v.challenge()))); code != http.StatusUnauthorized {
		t.Errorf("a removed passkey: %d", code)
	}
}

func TestEnrolmentRefused(t *testing.T) {
	_, alice, path := passkeyGate(t)
	before, err := ReadUsers(path)
	must(t, err)
	token := alice.token()
	if code, _ := (&visitor{t: t, g: alice.g, from: "192.0.2.9"}).ask("POST", "/api/session/enrolment", `{"password": "`+password+`"}`); code != http.StatusUnauthorized {
		t.Errorf("a stranger: %d", code)
	}
	if code, said := alice.ask("POST", "/api/session/enrolment", `{"password": "guessed"}`, TokenHeader, token); code != http.StatusForbidden {
		t.Errorf("a wrong password: %d %s", code, said)
	}
	a := newAuthenticator(t)
	b, _ := json.Marshal(map[string]any{"name": "x", "passkey": json.RawMessage(a.make(t, []byte(`{"challenge":"AAAAAAAAAAAAAAAAAAAAAA","user":{"id":"AA"},"rp":{"id":"weir.bank.example"}}`)))})
	if code, said := alice.ask("POST", "/api/session/passkeys", string(b), TokenHeader, token); code != http.StatusConflict {
		t.Errorf("without a beginning: %d %s", code, said)
	}
	if code, _ := alice.ask("POST", "/api/session/enrolment", `{"password": "`+password+`"}`, TokenHeader, token); code != http.StatusOK {
		t.Error(code)
	}
	if code, said := alice.ask("POST", "/api/session/passkeys", string(b), TokenHeader, token); code != http.StatusBadRequest {
		t.Errorf("another challenge: %d %s", code, said)
	}
	if code, said := alice.ask("POST", "/api/session/passkeys", string(b), TokenHeader, token); code != http.StatusConflict {
		t.Errorf("once more: %d %s", code, said)
	}
	if after, err := ReadUsers(path); err != nil || len(after[0].Passkeys) != len(before[0].Passkeys) {
		t.Errorf("%+v, %v", after, err)
	}
}

// Who tries passkeys that are refused, one after the other, doesn't fill the log.
func TestRefusedPasskeysAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, alice, _ := passkeyGate(t)
		var log bytes.Buffer
		g.complaints.Log = slog.New(slog.NewTextHandler(&log, nil))
		begun := time.Now()
		for range 20 {
			alice.ask("POST", "/api/session/enrolment", `{"password": "`+password+`"}`, TokenHeader, alice.token())
			if code, said := alice.ask("POST", "/api/session/passkeys", `{"name": "x", "passkey": {}}`, TokenHeader, alice.token()); code != http.StatusBadRequest {
				t.Fatalf("%d %s", code, said)
			}
			time.Sleep(10 * time.Second)
		}
		if got, most := strings.Count(log.String(), "a passkey is refused"), int(time.Since(begun)/warnEvery)+1; got == 0 || got > most {
			t.Errorf("%d lines, at most %d should be:\n%s", got, most, &log)
		}
	})
}

// Who has passkeys alone needs one, and keeps one where a second factor is required.
func TestPasskeysAlone(t *testing.T) {
	g, alice, path := passkeyGate(t)
	a := newAuthenticator(t)
	if code, said := alice.enrol(a, "the only one"); code != http.StatusOK {
		t.Fatalf("%d %s", code, said)
	}
	users, err := ChangeUsers(path, func(users []User) ([]User, error) {
		users[0].TOTP = ""
		return users, nil
	})
	must(t, err)
	must(t, g.Replace(users))
	v := &visitor{t: t, g: g, from: "192.0.2.3"}
	for _, code := range []string{"", "000000", codeAt(t, time.Now())} {
		if code, _ := v.do("POST", signIn("alice", password, code)); code != http.StatusUnauthorized {
			t.Errorf("without the passkey: %d", code)
		}
	}
	if code, said := v.do("POST", withPasskey("alice", password, a.sign(t, v.challenge()))); code != http.StatusOK {
		t.Fatalf("%d %v", code, said)
	}
	if code, said := v.ask("DELETE", "/api/session/passkeys?id="+users[0].Passkeys[0].ID, "", TokenHeader, v.token()); code == http.StatusOK || !strings.Contains(string(said), "second factor") {
		t.Errorf("the last one is gone: %d %s", code, said)
	}
	if _, err := New(users, Options{SecondFactor: true}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "web.origin") {
		t.Errorf("where no passkeys can be had: %v", err)
	}
}

func TestChallengesEnd(t *testing.T) {
	rp, err := newRelyingParty(rpHost, rpOrigin)
	must(t, err)
	now := time.Now()
	c := rp.challenge(now).Challenge.String()
	if !rp.valid(now.Add(ceremonyTime), c) || rp.valid(now.Add(ceremonyTime+2*time.Second), c) {
		t.Error("it isn't valid for as long as it should be")
	}
	other, err := newRelyingParty(rpHost, rpOrigin)
	must(t, err)
	if other.valid(now, c) {
		t.Error("valid for another process, too")
	}
	for _, host := range []string{"192.0.2.1", "", "::1"} {
		if _, err := newRelyingParty(host, rpOrigin); err == nil {
			t.Errorf("%q can have passkeys", host)
		}
	}
}

// What browsers send comes from outside.
func FuzzPasskey(f *testing.F) {
	rp, err := newRelyingParty(rpHost, rpOrigin)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{}`)
	f.Add(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AAAA","signature":"AA","userHandle":"AA"}}`)
	f.Add(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YUA"}}`)
	u := User{Name: "alice", Passkeys: []Passkey{{Name: "x", ID: "AA", Key: "pQECAyYgASFYIA"}}}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := rp.verify(time.Now(), u, []byte(text)); err == nil {
			t.Errorf("passkey %s signed %q", id, text)
		}
		_, e, err := rp.enrol(u)
		must(t, err)
		if p, err := rp.finish(time.Now(), u, *e, "x", []byte(text)); err == nil {
			t.Errorf("passkey %+v is new in %q", p, text)
		}
	})
}
