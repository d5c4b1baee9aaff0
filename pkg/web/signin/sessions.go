package signin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"time"
)

const (
	idleAfter = 15 * time.Minute // without a page open
	endAfter  = 12 * time.Hour
	maxOpen   = 1000
)

// session is one browser's.
type session struct {
	user          User
	passkey       string     // ID of the one it was opened with; "" for none
	enrolment     *enrolment // of a passkey that is being made
	token         string     // that its requests must bear, which another site's can't
	created, used time.Time
}

// sessions are by the hash of their cookie: who reads the memory can't take one over. It isn't safe for use side by side.
type sessions map[[sha256.Size]byte]*session

func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// open makes a session and returns its cookie's value.
func (all sessions) open(now time.Time, u User, passkey string) (cookie string, s *session) {
	all.expire(now)
	if len(all) >= maxOpen {
		var oldest [sha256.Size]byte
		for key, s := range all {
			if all[oldest] == nil || s.used.Before(all[oldest].used) {
				oldest = key
			}
		}
		delete(all, oldest)
	}
	cookie = secret()
	s = &session{user: u, passkey: passkey, token: secret(), created: now, used: now}
	all[sha256.Sum256([]byte(cookie))] = s
	return cookie, s
}

// find returns the session of a cookie and notes that it is used.
func (all sessions) find(now time.Time, cookie string) *session {
	s := all[sha256.Sum256([]byte(cookie))]
	if s == nil || s.over(now) {
		return nil
	}
	s.used = now
	return s
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.used) > idleAfter || now.Sub(s.created) > endAfter
}

func (all sessions) close(cookie string) { delete(all, sha256.Sum256([]byte(cookie))) }

func (all sessions) expire(now time.Time) {
	for key, s := range all {
		if s.over(now) {
			delete(all, key)
		}
	}
}

func (s *session) bears(token string) bool {
	return subtle.ConstantTimeCompare([]byte(s.token), []byte(token)) == 1
}
