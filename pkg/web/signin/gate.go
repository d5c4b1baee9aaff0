package signin

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/weir-sensor/weir/pkg/console"
)

// Options say how strict the gate is.
type Options struct {
	Secure       bool // browsers come by TLS, to this server or to a proxy before it
	SecondFactor bool // required of everybody
	Proxy        bool // a proxy tells by X-Forwarded-For who came to it
}

// Gate lets people in. It is safe for use side by side.
type Gate struct {
	opts       Options
	log        *slog.Logger
	complaints console.Complaints
	slots      chan struct{} // for argon2, which takes memory
	decoy      hash          // for users that there aren't: they are to cost the same

	mu       sync.Mutex
	users    map[string]User
	sessions sessions
	attempts attempts
	steps    map[string]uint64 // by user, the last of TOTP's steps that was used
}

const (
	maxRequest = 4 << 10
	maxHashing = 2
	hashWait   = 2 * time.Second
	stepLength = 30 // seconds, RFC 6238
	warnEvery  = time.Minute

	// TokenHeader is what requests that change something must bear.
	TokenHeader = "Weir-Token"
)

// New returns a gate for users.
func New(users []User, opts Options, log *slog.Logger) (*Gate, error) {
	g := &Gate{
		opts: opts, log: log, complaints: console.Complaints{Log: log, Every: warnEvery}, slots: make(chan struct{}, maxHashing),
		decoy:    hash{memoryKiB, passes, lanes, make([]byte, saltBytes), make([]byte, keyBytes)},
		sessions: sessions{}, steps: map[string]uint64{},
	}
	return g, g.Replace(users)
}

// Replace takes other users. Whoever isn't among them as they were is signed out.
func (g *Gate) Replace(users []User) error {
	byName := map[string]User{}
	for _, u := range users {
		if g.opts.SecondFactor && u.TOTP == "" {
			return fmt.Errorf("user %s has no second factor: weir web user totp %s, or set web.second-factor to optional", u.Name, u.Name)
		}
		byName[u.Name] = u
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users = byName
	for key, s := range g.sessions {
		if byName[s.user.Name] != s.user {
			delete(g.sessions, key)
		}
	}
	return nil
}

// Person is somebody who is signed in.
type Person struct {
	Name  string `json:"name"`
	Role  Role   `json:"role"`
	Token string `json:"token"` // for TokenHeader
}

// Operator tells whether somebody may command.
func (p Person) Operator() bool { return p.Role == Operator }

// Who tells who a request is from; ok is false for who isn't signed in. A request that changes something must bear the token.
func (g *Gate) Who(r *http.Request) (p Person, ok bool) {
	c, err := r.Cookie(g.cookieName())
	if err != nil {
		return Person{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sessions.find(time.Now(), c.Value)
	if s == nil || r.Method != http.MethodGet && !s.bears(r.Header.Get(TokenHeader)) {
		return Person{}, false
	}
	return Person{s.user.Name, s.user.Role, s.token}, true
}

// cookieName has a prefix that browsers tie to TLS and to this host, where there is TLS.
func (g *Gate) cookieName() string {
	if g.opts.Secure {
		return "__Host-weir"
	}
	return "weir"
}

func (g *Gate) setCookie(w http.ResponseWriter, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: g.cookieName(), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: g.opts.Secure, SameSite: http.SameSiteStrictMode,
	})
}

// ServeHTTP tells who somebody is (GET), signs in (POST) and out (DELETE).
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		if p, ok := g.Who(r); ok {
			answer(w, http.StatusOK, p)
			return
		}
		refuse(w, http.StatusUnauthorized, "sign in")
	case http.MethodPost:
		g.signIn(w, r)
	case http.MethodDelete:
		if _, ok := g.Who(r); !ok {
			refuse(w, http.StatusUnauthorized, "you aren't signed in")
			return
		}
		c, _ := r.Cookie(g.cookieName()) // it was there
		g.mu.Lock()
		g.sessions.close(c.Value)
		g.mu.Unlock()
		g.setCookie(w, "", -1)
		answer(w, http.StatusOK, struct{}{})
	default:
		refuse(w, http.StatusMethodNotAllowed, "no such request")
	}
}

type credentials struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	Code     string `json:"code"`
}

func (g *Gate) signIn(w http.ResponseWriter, r *http.Request) {
	var c credentials
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || d.More() || len(c.Password) > maxPassword {
		refuse(w, http.StatusBadRequest, "give a name, a password and a code")
		return
	}
	c.Name = strings.ToLower(strings.TrimSpace(c.Name))
	if !nameForm.MatchString(c.Name) {
		c.Name = "?" // one for all that can't be
	}
	source := g.sourceOf(r)
	now := time.Now()
	g.mu.Lock()
	wait := g.attempts.wait(now, c.Name, source)
	if wait == 0 {
		g.attempts.try(now, c.Name, source)
	}
	u, known := g.users[c.Name]
	g.mu.Unlock()
	if wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		refuse(w, http.StatusTooManyRequests, "too many attempts: wait %d s", seconds)
		return
	}
	right, ok := g.passwordIs(r, u, known, c.Password)
	if !ok {
		g.mu.Lock()
		g.attempts.forgive(c.Name, source)
		g.mu.Unlock()
		refuse(w, http.StatusServiceUnavailable, "too many people sign in at once: try again")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !right || !g.codeIs(now, u, c.Code) || g.users[c.Name] != u {
		g.complaints.Warn(now, "somebody failed to sign in", "user", c.Name, "from", source)
		refuse(w, http.StatusUnauthorized, "name, password or code is wrong")
		return
	}
	g.attempts.succeeded(now, c.Name, source)
	if old, err := r.Cookie(g.cookieName()); err == nil {
		g.sessions.close(old.Value)
	}
	cookie, s := g.sessions.open(now, u)
	g.setCookie(w, cookie, int(endAfter.Seconds()))
	g.log.Info("signed in", "component", "audit", "user", u.Name, "role", u.Role, "from", source)
	answer(w, http.StatusOK, Person{u.Name, u.Role, s.token})
}

// sourceOf is where a request is from: a proxy's last word, if there is one.
func (g *Gate) sourceOf(r *http.Request) string {
	if g.opts.Proxy {
		all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		return sourceOf(net.JoinHostPort(strings.Trim(strings.TrimSpace(all[len(all)-1]), "[]"), "0"))
	}
	return sourceOf(r.RemoteAddr)
}

// passwordIs takes as long for users that there aren't; ok is false if there was no room to look.
func (g *Gate) passwordIs(r *http.Request, u User, known bool, password string) (right, ok bool) {
	late := time.NewTimer(hashWait)
	defer late.Stop()
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
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

// codeIs checks a code of now, of half a minute ago or of the next, and that it wasn't used. mu is held.
func (g *Gate) codeIs(now time.Time, u User, code string) bool {
	if u.TOTP == "" {
		return true // New and Replace have seen to it that this may be
	}
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

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a browser that is gone
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, map[string]string{"error": fmt.Sprintf(format, args...)})
}
