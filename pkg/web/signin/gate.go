package signin

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/audit"
	"github.com/weir-sensor/weir/pkg/console"
)

// Options say how strict the gate is.
type Options struct {
	Secure       bool   // browsers come by TLS, to this server or to a proxy before it
	SecondFactor bool   // required of everybody
	Proxy        bool   // a proxy tells by X-Forwarded-For who came to it
	Host         string // that passkeys are bound to, like weir.bank.example; "" for no passkeys
	Origin       string // of the page there, like https://weir.bank.example

	Audit *audit.Log // nil for none

	// Change changes the users where they are kept, and returns them all. Without it nobody can add passkeys.
	Change func(func([]User) ([]User, error)) ([]User, error)
}

// Gate lets people in. It is safe for use side by side.
type Gate struct {
	http.Handler

	opts       Options
	log        *slog.Logger
	complaints console.Complaints
	slots      chan struct{} // for argon2, which takes memory
	reserved   chan struct{} // one for sources where the user has signed in before: a crowd of guessers must not keep them out
	decoy      hash          // for users that there aren't: they are to cost the same

	mu       sync.Mutex
	users    map[string]User
	sessions sessions
	attempts attempts
	steps    map[string]uint64 // by user, the last of TOTP's steps that was used
	passkeys *relyingParty     // nil for none
}

const (
	maxRequest = 16 << 10
	maxHashing = 2
	hashWait   = 2 * time.Second
	stepLength = 30 // seconds, RFC 6238
	warnEvery  = time.Minute

	// TokenHeader is what requests that change something must bear.
	TokenHeader = "Weir-Token"
)

// New returns a gate for users. It answers what begins with /api/session.
func New(users []User, opts Options, log *slog.Logger) (*Gate, error) {
	g := &Gate{
		opts: opts, log: log, complaints: console.Complaints{Log: log, Every: warnEvery}, slots: make(chan struct{}, maxHashing),
		reserved: make(chan struct{}, 1),
		decoy:    hash{memoryKiB, passes, lanes, make([]byte, saltBytes), make([]byte, keyBytes)},
		sessions: sessions{}, steps: map[string]uint64{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/session", g.tell)
	mux.HandleFunc("POST /api/session", g.signIn)
	mux.HandleFunc("DELETE /api/session", g.signedIn(g.signOut))
	if opts.Host != "" {
		var err error
		if g.passkeys, err = newRelyingParty(opts.Host, opts.Origin); err != nil {
			return nil, fmt.Errorf("passkeys for %s: %w", opts.Host, err)
		}
		mux.HandleFunc("GET /api/session/challenge", g.challenge)
		mux.HandleFunc("GET /api/session/passkeys", g.signedIn(g.listPasskeys))
		mux.HandleFunc("DELETE /api/session/passkeys", g.signedIn(g.removePasskey))
		mux.HandleFunc("POST /api/session/enrolment", g.signedIn(g.enrol))
		mux.HandleFunc("POST /api/session/passkeys", g.signedIn(g.addPasskey))
	}
	g.Handler = mux
	return g, g.Replace(users)
}

// Replace takes other users. Whoever isn't among them as they were is signed out.
func (g *Gate) Replace(users []User) error {
	byName := map[string]User{}
	for _, u := range users {
		if err := g.complete(u); err != nil {
			return err
		}
		byName[u.Name] = u
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users = byName
	for key, s := range g.sessions {
		u, ok := byName[s.user.Name]
		if !ok || !u.asBefore(s.user, s.passkey) {
			delete(g.sessions, key)
			continue
		}
		s.user = u
	}
	return nil
}

// complete tells whether a user has the second factor that is required.
func (g *Gate) complete(u User) error {
	switch {
	case !g.opts.SecondFactor || u.TOTP != "" || len(u.Passkeys) > 0 && g.passkeys != nil:
		return nil
	case len(u.Passkeys) > 0:
		return fmt.Errorf("user %s has passkeys only, which need a name: set web.origin, or run `weir web user totp %s`", u.Name, u.Name)
	}
	return fmt.Errorf("user %s has no second factor: weir web user totp %s, or set web.second-factor to optional", u.Name, u.Name)
}

// Person is somebody who is signed in.
type Person struct {
	Name     string `json:"name"`
	Role     Role   `json:"role"`
	Token    string `json:"token"`              // for TokenHeader
	Passkeys string `json:"passkeys,omitempty"` // host at which passkeys can be had
	From     string `json:"-"`                  // address, as far as it is known
}

// Operator tells whether somebody may command.
func (p Person) Operator() bool { return p.Role == Operator }

// Who tells who a request is from; ok is false for who isn't signed in. A request that changes something must bear the token.
func (g *Gate) Who(r *http.Request) (p Person, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.session(r)
	if s == nil {
		return Person{}, false
	}
	return g.person(s, g.addressOf(r)), true
}

func (g *Gate) person(s *session, from string) Person {
	return Person{s.user.Name, s.user.Role, s.token, g.opts.Host, from}
}

// session is nil for who isn't signed in. mu is held.
func (g *Gate) session(r *http.Request) *session {
	c, err := r.Cookie(g.cookieName())
	if err != nil {
		return nil
	}
	s := g.sessions.find(time.Now(), c.Value)
	if s == nil || r.Method != http.MethodGet && !s.bears(r.Header.Get(TokenHeader)) {
		return nil
	}
	return s
}

// signedIn serves nobody else.
func (g *Gate) signedIn(serve func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		s := g.session(r)
		g.mu.Unlock()
		if s == nil {
			refuse(w, http.StatusUnauthorized, "sign in")
			return
		}
		serve(w, r, s)
	}
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

// tell says who somebody is.
func (g *Gate) tell(w http.ResponseWriter, r *http.Request) {
	if p, ok := g.Who(r); ok {
		answer(w, http.StatusOK, p)
		return
	}
	answer(w, http.StatusUnauthorized, map[string]string{"error": "sign in", "passkeys": g.opts.Host})
}

func (g *Gate) signOut(w http.ResponseWriter, r *http.Request, _ *session) {
	c, _ := r.Cookie(g.cookieName()) // it was there
	g.mu.Lock()
	g.sessions.close(c.Value)
	g.mu.Unlock()
	g.setCookie(w, "", -1)
	answer(w, http.StatusOK, struct{}{})
}

// read reads a request's JSON.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
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
