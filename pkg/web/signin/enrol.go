package signin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/audit"
)

// challenge is what a passkey has to sign. Anybody may ask.
func (g *Gate) challenge(w http.ResponseWriter, _ *http.Request) {
	g.mu.Lock()
	c := g.passkeys.challenge(time.Now())
	g.mu.Unlock()
	answer(w, http.StatusOK, c)
}

func (g *Gate) listPasskeys(w http.ResponseWriter, _ *http.Request, s *session) {
	g.mu.Lock()
	all := append([]Passkey{}, s.user.Passkeys...)
	g.mu.Unlock()
	answer(w, http.StatusOK, all)
}

// enrol begins a passkey for whoever knows the password, too: an open page that was left alone isn't enough.
func (g *Gate) enrol(w http.ResponseWriter, r *http.Request, s *session) {
	var c struct {
		Password string `json:"password"`
	}
	if err := read(w, r, &c); err != nil || len(c.Password) > maxPassword {
		refuse(w, http.StatusBadRequest, "give your password")
		return
	}
	g.mu.Lock()
	name := s.user.Name
	g.mu.Unlock()
	source := sourceOf(g.addressOf(r))
	u, right, tried := g.knows(w, r, name, c.Password, source)
	if !tried {
		return
	}
	if !right {
		refuse(w, http.StatusForbidden, "the password is wrong")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attempts.forgive(name, source)
	creation, e, err := g.passkeys.enrol(u)
	if err != nil {
		g.complaints.Warn(time.Now(), "no passkey can be made", "user", name, "err", err)
		refuse(w, http.StatusInternalServerError, "no passkey can be made here: see the log of weir web")
		return
	}
	s.enrolment = e
	answer(w, http.StatusOK, creation.Response)
}

func (g *Gate) addPasskey(w http.ResponseWriter, r *http.Request, s *session) {
	var c struct {
		Name    string          `json:"name"`
		Passkey json.RawMessage `json:"passkey"`
	}
	if err := read(w, r, &c); err != nil {
		refuse(w, http.StatusBadRequest, "give the passkey and a name for it")
		return
	}
	now := time.Now()
	g.mu.Lock()
	u, e := s.user, s.enrolment
	s.enrolment = nil
	g.mu.Unlock()
	if e == nil {
		refuse(w, http.StatusConflict, "begin again: give your password first")
		return
	}
	p, err := g.passkeys.finish(now, u, *e, strings.TrimSpace(c.Name), c.Passkey)
	if err != nil {
		g.complaints.Warn(now, "a passkey is refused", "user", u.Name, "err", err)
		refuse(w, http.StatusBadRequest, "the passkey is refused: %v", err)
		return
	}
	g.keep(w, u.Name, "passkey added", p, func(u *User) error {
		u.Passkeys = append(slices.Clone(u.Passkeys), p)
		return nil
	})
}

func (g *Gate) removePasskey(w http.ResponseWriter, r *http.Request, s *session) {
	id := r.URL.Query().Get("id")
	g.mu.Lock()
	name := s.user.Name
	i := slices.IndexFunc(s.user.Passkeys, func(p Passkey) bool { return p.ID == id })
	var p Passkey
	if i >= 0 {
		p = s.user.Passkeys[i]
	}
	g.mu.Unlock()
	if i < 0 {
		refuse(w, http.StatusNotFound, "you have no such passkey")
		return
	}
	g.keep(w, name, "passkey removed", p, func(u *User) error {
		u.Passkeys = slices.DeleteFunc(slices.Clone(u.Passkeys), func(p Passkey) bool { return p.ID == id })
		return g.complete(*u)
	})
}

// keep changes a user where users are kept, and says so.
func (g *Gate) keep(w http.ResponseWriter, name, what string, p Passkey, change func(*User) error) {
	if g.opts.Change == nil {
		refuse(w, http.StatusNotImplemented, "users can't be changed here")
		return
	}
	users, err := g.opts.Change(func(users []User) ([]User, error) {
		i := slices.IndexFunc(users, func(u User) bool { return u.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no user %s any more", name)
		}
		return users, errors.Join(change(&users[i]), users[i].validate())
	})
	if err == nil {
		err = g.Replace(users)
	}
	if err != nil {
		g.complaints.Warn(time.Now(), "no "+what, "user", name, "err", err)
		refuse(w, http.StatusInternalServerError, "nothing was changed: %v", err)
		return
	}
	g.log.Info(what, "audit", true, "user", name, "passkey", p.Name, "id", p.ID)
	g.opts.Audit.Note(time.Now(), audit.Event{Kind: strings.ReplaceAll(what, " ", "_"), User: name, ID: p.ID, Detail: p.Name})
	g.mu.Lock()
	all := append([]Passkey{}, g.users[name].Passkeys...)
	g.mu.Unlock()
	answer(w, http.StatusOK, all)
}
