package signin

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/weir-sensor/weir/pkg/audit"
)

type credentials struct {
	Name     string          `json:"name"`
	Password string          `json:"password"`
	Code     string          `json:"code"`
	Passkey  json.RawMessage `json:"passkey,omitempty"` // what the browser's authenticator signed, instead of a code
}

func (g *Gate) signIn(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if err := read(w, r, &c); err != nil || len(c.Password) > maxPassword {
		refuse(w, http.StatusBadRequest, "give a name, a password, and a code or a passkey")
		return
	}
	c.Name = strings.ToLower(strings.TrimSpace(c.Name))
	if !nameForm().MatchString(c.Name) {
		c.Name = "?" // one for all that can't be
	}
	from := g.addressOf(r)
	source := sourceOf(from)
	now := time.Now()
	u, right, tried := g.knows(w, r, c.Name, c.Password, source)
	if !tried {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	passkey := ""
	if right { // a code isn't used up otherwise
		passkey, right = g.secondIs(now, u, c)
	}
	if is, ok := g.users[u.Name]; !right || !ok || !is.asBefore(u, passkey) {
		name := cmp.Or(u.Name, "?") // what else is typed there may be a password
		g.complaints.Warn(now, "somebody failed to sign in", "user", name, "from", from)
		g.opts.Audit.Note(now, audit.Event{Kind: "sign_in_failed", User: name, From: from})
		refuse(w, http.StatusUnauthorized, "name, password or second factor is wrong")
		return
	}
	g.attempts.succeeded(now, c.Name, source)
	if old, err := r.Cookie(g.cookieName()); err == nil {
		g.sessions.close(old.Value)
	}
	cookie, s := g.sessions.open(now, u, passkey)
	g.setCookie(w, cookie, int(endAfter.Seconds()))
	g.log.Info("signed in", "audit", true, "user", u.Name, "role", u.Role, "from", from, "passkey", passkey != "")
	g.opts.Audit.Note(now, audit.Event{Kind: "signed_in", User: u.Name, Role: string(u.Role), From: from})
	answer(w, http.StatusOK, g.person(s, from))
}

// knows tells whether somebody knows a user's password. It counts as a failed attempt until forgiven. Unless it was tried, the
// request has been answered.
func (g *Gate) knows(w http.ResponseWriter, r *http.Request, name, password, source string) (u User, right, tried bool) {
	now := time.Now()
	g.mu.Lock()
	wait := g.attempts.wait(now, name, source)
	if wait == 0 {
		g.attempts.try(now, name, source)
	}
	u, known := g.users[name]
	slots := g.slots
	if g.attempts.knows(name, source) {
		slots = g.reserved
	}
	g.mu.Unlock()
	if wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		refuse(w, http.StatusTooManyRequests, "too many attempts: wait %d s", seconds)
		return User{}, false, false
	}
	right, ok := g.passwordIs(r, slots, u, known, password)
	if !ok {
		g.mu.Lock()
		g.attempts.forgive(name, source)
		g.mu.Unlock()
		refuse(w, http.StatusServiceUnavailable, "too many people sign in at once: try again")
		return User{}, false, false
	}
	return u, right, true
}

// addressOf is where a request is from: a proxy's last word, if there is one.
func (g *Gate) addressOf(r *http.Request) string {
	if g.opts.Proxy {
		all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		return strings.Trim(strings.TrimSpace(all[len(all)-1]), "[]")
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// passwordIs takes as long for users that there aren't; ok is false if there was no room to look.
func (g *Gate) passwordIs(r *http.Request, slots chan struct{}, u User, known bool, password string) (right, ok bool) {
	late := time.NewTimer(hashWait)
	defer late.Stop()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-late.C:
		return false, false
	case <-r.Context().Done():
		return false, false
	}
	h := g.decoy
	if known {
		var err error
		if h, err = parseHash(u.Password); err != nil { // was right when it was read
			return false, true
		}
	}
	return h.matches(password) && known, true
}

// secondIs checks the second factor, and returns the passkey if it is one. mu is held.
func (g *Gate) secondIs(now time.Time, u User, c credentials) (passkey string, ok bool) {
	switch {
	case len(c.Passkey) > 0:
		if g.passkeys == nil {
			return "", false
		}
		passkey, err := g.passkeys.verify(now, u, c.Passkey)
		if err != nil {
			g.log.Debug("passkey refused", "user", c.Name, "err", err)
		}
		return passkey, err == nil
	case u.TOTP != "":
		return "", g.codeIs(now, u, c.Code)
	}
	return "", len(u.Passkeys) == 0 // New and Replace have seen to it that this may be
}

// codeIs checks a code of now, of half a minute ago or of the next, and that it wasn't used. mu is held.
func (g *Gate) codeIs(now time.Time, u User, code string) bool {
	step := uint64(now.Unix()) / stepLength
	code = strings.ReplaceAll(code, " ", "")
	for at := step - 1; at <= step+1; at++ {
		want, err := totp.GenerateCode(u.TOTP, time.Unix(int64(at*stepLength), 0))
		if err != nil || subtle.ConstantTimeCompare([]byte(want), []byte(code)) != 1 || at <= g.steps[u.Name] {
			continue
		}
		g.steps[u.Name] = at
		return true
	}
	return false
}
