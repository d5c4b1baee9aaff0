package signin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Passkey is a credential of WebAuthn that stands in for the second factor. Only its public half is here.
type Passkey struct {
	Name   string    `yaml:"name" json:"name"` // as its owner calls it
	ID     string    `yaml:"id" json:"id"`     // base64url
	Key    string    `yaml:"key" json:"-"`     // the public key, COSE in base64url
	Added  time.Time `yaml:"added" json:"added"`
	Synced bool      `yaml:"synced,omitempty" json:"synced"` // may be copied between its owner's devices: WebAuthn's backup eligibility
}

const (
	maxPasskeys    = 10
	maxPasskeyName = 40 // bytes
	ceremonyTime   = 3 * time.Minute
	nonceBytes     = 16
	macBytes       = 16
)

var base64url = base64.RawURLEncoding

func (p Passkey) validate() error {
	if p.Name == "" || len(p.Name) > maxPasskeyName || !printable(p.Name) {
		return fmt.Errorf("a passkey's name has 1 to %d printable bytes", maxPasskeyName)
	}
	id, err := base64url.DecodeString(p.ID)
	if err != nil || len(id) == 0 || len(id) > 1023 { // the standard's most
		return fmt.Errorf("passkey %s: id is no base64url of 1 to 1023 bytes", p.Name)
	}
	if key, err := base64url.DecodeString(p.Key); err != nil || len(key) == 0 {
		return fmt.Errorf("passkey %s: key is no base64url", p.Name)
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return false
		}
	}
	return true
}

// relyingParty asks browsers for passkeys. Its challenges are its own by a MAC, so that a flood of requests for them fills
// nothing; one that has been answered isn't taken again. It isn't safe for use side by side.
type relyingParty struct {
	party  *webauthn.WebAuthn
	key    []byte
	spent  map[string]time.Time // challenges that were answered, until they are void
	counts map[string]uint32    // by credential, of the uses that it has counted since this process began
}

// newRelyingParty is for one origin, like https://weir.bank.example; its host is what browsers bind passkeys to.
func newRelyingParty(host, origin string) (*relyingParty, error) {
	timeout := webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyTime, TimeoutUVD: ceremonyTime}
	party, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "weir", RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationPreferred,
		},
		Timeouts:                          webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore, // some password managers send credProps unasked
	})
	if err != nil {
		return nil, err
	}
	if err := protocol.ValidateRPID(host); err != nil {
		return nil, err
	}
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &relyingParty{party: party, key: key, spent: map[string]time.Time{}, counts: map[string]uint32{}}, nil
}

// challenge is to be signed by ceremonyTime from now on. It is the same for everybody: which users there are, and what passkeys
// they have, isn't told to strangers.
func (rp *relyingParty) challenge(now time.Time) protocol.PublicKeyCredentialRequestOptions {
	c := make([]byte, nonceBytes, nonceBytes+8+macBytes)
	_, _ = rand.Read(c)
	c = binary.BigEndian.AppendUint64(c, uint64(now.Add(ceremonyTime).Unix()))
	return protocol.PublicKeyCredentialRequestOptions{
		Challenge: append(c, rp.mac(c)...), Timeout: int(ceremonyTime.Milliseconds()), RelyingPartyID: rp.party.Config.RPID,
		UserVerification: rp.party.Config.AuthenticatorSelection.UserVerification,
	}
}

func (rp *relyingParty) mac(b []byte) []byte {
	h := hmac.New(sha256.New, rp.key)
	h.Write(b)
	return h.Sum(nil)[:macBytes]
}

// valid tells whether a challenge is one of ours, in time, and new.
func (rp *relyingParty) valid(now time.Time, challenge string) bool {
	c, err := base64url.DecodeString(challenge)
	if err != nil || len(c) != nonceBytes+8+macBytes {
		return false
	}
	body, mac := c[:nonceBytes+8], c[nonceBytes+8:]
	_, spent := rp.spent[challenge]
	return !spent && hmac.Equal(mac, rp.mac(body)) && uint64(now.Unix()) <= binary.BigEndian.Uint64(body[nonceBytes:])
}

// verify returns the ID of the passkey of a user's that signed one of our challenges just now.
func (rp *relyingParty) verify(now time.Time, u User, response []byte) (id string, err error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return "", err
	}
	challenge := parsed.Response.CollectedClientData.Challenge
	if !rp.valid(now, challenge) {
		return "", errors.New("the challenge is old, used or somebody else's")
	}
	_, c, err := rp.party.ValidatePasskeyLogin(
		func(_, _ []byte) (webauthn.User, error) { return holder{u, rp.counts}, nil },
		webauthn.SessionData{
			Challenge: challenge, RelyingPartyID: rp.party.Config.RPID,
			UserVerification: rp.party.Config.AuthenticatorSelection.UserVerification,
		}, parsed)
	if err != nil {
		return "", err
	}
	id = base64url.EncodeToString(c.ID)
	if c.Authenticator.CloneWarning {
		return "", fmt.Errorf("passkey %s counts backwards: has it been copied?", id)
	}
	rp.counts[id] = c.Authenticator.SignCount
	for old, until := range rp.spent {
		if now.After(until) {
			delete(rp.spent, old)
		}
	}
	rp.spent[challenge] = now.Add(ceremonyTime + time.Second)
	return id, nil
}

// enrolment is a passkey that is being made.
type enrolment = webauthn.SessionData

// enrol begins one.
func (rp *relyingParty) enrol(u User) (*protocol.CredentialCreation, *enrolment, error) {
	var has []protocol.CredentialDescriptor
	for _, c := range (holder{u, nil}).WebAuthnCredentials() {
		has = append(has, c.Descriptor())
	}
	return rp.party.BeginRegistration(holder{u, nil}, webauthn.WithExclusions(has))
}

// finish checks what the browser made.
func (rp *relyingParty) finish(now time.Time, u User, e enrolment, name string, response []byte) (Passkey, error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Passkey{}, err
	}
	c, err := rp.party.CreateCredential(holder{u, nil}, e, parsed)
	if err != nil {
		return Passkey{}, err
	}
	p := Passkey{
		Name: name, ID: base64url.EncodeToString(c.ID), Key: base64url.EncodeToString(c.PublicKey), Added: now.UTC().Truncate(time.Second),
		Synced: c.Flags.BackupEligible,
	}
	return p, p.validate()
}

// holder is a user as the library sees one.
type holder struct {
	User
	counts map[string]uint32
}

// WebAuthnID is no secret, and no name either: authenticators show it to nobody, but store it.
func (h holder) WebAuthnID() []byte {
	id := sha256.Sum256([]byte("weir user " + h.Name))
	return id[:]
}

func (h holder) WebAuthnName() string { return h.Name }

func (h holder) WebAuthnDisplayName() string { return h.Name }

func (h holder) WebAuthnCredentials() []webauthn.Credential {
	var all []webauthn.Credential
	for _, p := range h.Passkeys {
		id, err := base64url.DecodeString(p.ID)
		key, err2 := base64url.DecodeString(p.Key)
		if errors.Join(err, err2) != nil {
			continue // was right when it was read
		}
		all = append(all, webauthn.Credential{
			ID: id, PublicKey: key, Flags: webauthn.CredentialFlags{BackupEligible: p.Synced},
			Authenticator: webauthn.Authenticator{SignCount: h.counts[p.ID]},
		})
	}
	return all
}

// has tells whether a user has a passkey.
func (u User) has(id string) bool {
	return slices.ContainsFunc(u.Passkeys, func(p Passkey) bool { return p.ID == id })
}

// asBefore tells whether a user who signed in may stay: nothing but the passkeys that weren't used then has changed.
func (u User) asBefore(then User, passkey string) bool {
	return u.Name == then.Name && u.Role == then.Role && u.TOTP == then.TOTP && u.Password == then.Password &&
		(passkey == "" || u.has(passkey))
}
