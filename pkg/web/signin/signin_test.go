package signin

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	password = "correct horse battery"
	shared   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
)

func user(name string, role Role, totp string) User {
	return User{Name: name, Role: role, Password: cheap(), TOTP: totp}
}

// cheap is a hash of password that takes a millisecond.
var cheap = sync.OnceValue(func() string {
	h := hash{memory: minMemory, passes: 1, lanes: 1, salt: make([]byte, saltBytes)}
	return h.encode(password)
})

func TestHash(t *testing.T) {
	s, err := Hash(password, rand.Reader)
	must(t, err)
	h, err := parseHash(s)
	must(t, err)
	if h.memory != memoryKiB || h.passes != passes || !h.matches(password) || h.matches(password+" ") || h.matches("") {
		t.Errorf("%s: %+v", s, h)
	}
	again, err := Hash(password, rand.Reader)
	must(t, err)
	if again == s {
		t.Error("two hashes of one password are equal")
	}
	// The reference implementation's test.c: password "password", salt "somesalt" (too short for us), m=2^16, t=2, p=1.
	vector := hash{memory: 1 << 16, passes: 2, lanes: 1, salt: []byte("somesalt")}
	if got := vector.encode("password"); !strings.HasSuffix(got, "$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc") {
		t.Errorf("argon2id is %s", got)
	}
	for _, bad := range []string{"short", strings.Repeat("x", maxPassword+1), ""} {
		if _, err := Hash(bad, rand.Reader); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, bad := range []string{"", "x", strings.Replace(s, "argon2id", "argon2i", 1), strings.Replace(s, "m=65536", "m=9999999", 1),
		strings.Replace(s, "m=65536", "m=8", 1), strings.Replace(s, "t=3", "t=99", 1), strings.Replace(s, "p=4", "p=0", 1), s + "$", s[:40]} {
		if _, err := parseHash(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func replaceUsers(path string, users []User) error {
	_, err := ChangeUsers(path, func([]User) ([]User, error) { return users, nil })
	return err
}

func TestUsersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	users := []User{user("alice", Operator, shared), user("bob", Viewer, "")}
	must(t, replaceUsers(path, users))
	got, err := ReadUsers(path)
	must(t, err)
	if !reflect.DeepEqual(got, users) {
		t.Errorf("%+v", got)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if os.Getuid() == 0 {
		must(t, os.Chown(path, 1234, 5678))
		must(t, replaceUsers(path, users))
		info, err := os.Stat(path)
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 5678 || info.Mode().Perm() != 0o600 {
			t.Errorf("it belongs to %d:%d, mode %v", st.Uid, st.Gid, info.Mode())
		}
	}
	must(t, os.Chmod(path, 0o640))
	if _, err := ReadUsers(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable for the group: %v", err)
	}
	if err := replaceUsers(path, nil); err == nil {
		t.Error("a file without users is written")
	}
}

// Who changes the file at the same time loses nothing.
func TestUsersAreChangedOneAfterTheOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := ChangeUsers(path, func(users []User) ([]User, error) {
				return append(users, user(fmt.Sprintf("user%d", i), Viewer, "")), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if users, err := ReadUsers(path); err != nil || len(users) != 20 {
		t.Errorf("%d users, %v", len(users), err)
	}
}

func TestUsersRefused(t *testing.T) {
	ok := "- name: alice\n  role: operator\n  password: " + cheap() + "\n"
	if _, err := ParseUsers([]byte(ok)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "no list": "name: alice", "unknown key": ok + "  shell: /bin/sh\n", "twice": ok + ok, "no role": strings.Replace(ok, "operator", "", 1),
		"another role": strings.Replace(ok, "operator", "root", 1), "plain password": "- {name: a, role: viewer, password: secret}\n",
		"bad name": strings.Replace(ok, "alice", "Al ice", 1), "short totp": ok + "  totp: JBSWY3DP\n", "no base32": ok + "  totp: 0189\n",
		"passkey without key": ok + "  passkeys: [{name: x, id: AAAA}]\n", "nameless passkey": ok + "  passkeys: [{id: AAAA, key: AAAA}]\n",
		"passkey twice": ok + "  passkeys: [{name: x, id: AAAA, key: AAAA}, {name: y, id: AAAA, key: AAAA}]\n",
		"two documents": ok + "---\n" + ok, "broken": "- {", "bytes": "\xff\xfe",
	} {
		users, err := ParseUsers([]byte(text))
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v, %v", name, users, err)
		}
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add("- name: alice\n  role: operator\n  password: " + cheap() + "\n")
	f.Add("- {name: a, role: viewer, password: x, totp: JBSWY3DPEHPK3PXP}")
	f.Add("- {name: a, role: viewer, password: " + cheap() + ", passkeys: [{name: x, id: AAAA, key: AAAA, added: 2026-11-23T12:00:00Z, synced: true}]}")
	f.Add("&a [*a]")
	f.Add("---\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		users, err := ParseUsers([]byte(text))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		path := filepath.Join(t.TempDir(), "users")
		must(t, replaceUsers(path, users))
		if again, err := ReadUsers(path); err != nil || !reflect.DeepEqual(again, users) {
			t.Errorf("%+v, %v, was %+v", again, err, users)
		}
	})
}

func TestAttempts(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var a attempts
	a.succeeded(now, "alice", "192.0.2.1")
	for i := range sourceTries {
		if w := a.wait(now, "alice", "198.51.100.7"); w != 0 {
			t.Fatalf("attempt %d waits %v", i, w)
		}
		a.try(now, "alice", "198.51.100.7")
	}
	if w := a.wait(now, "bob", "198.51.100.7"); w != firstWait {
		t.Errorf("the source waits %v", w)
	}
	a.try(now, "alice", "198.51.100.7")
	if w := a.wait(now, "alice", "198.51.100.7"); w != 2*firstWait {
		t.Errorf("then %v", w)
	}
	for range 30 {
		a.try(now, "alice", "198.51.100.7")
	}
	if w := a.wait(now, "alice", "198.51.100.7"); w != longestWait {
		t.Errorf("at last %v", w)
	}
	if a.wait(now, "alice", "203.0.113.9") == 0 {
		t.Error("alice can be guessed at from elsewhere")
	}
	if w := a.wait(now, "alice", "192.0.2.1"); w != 0 {
		t.Errorf("alice herself waits %v", w)
	}
	if w := a.wait(now.Add(longestWait), "alice", "198.51.100.7"); w != 0 {
		t.Errorf("an hour later %v", w)
	}
	for i := range 3 * maxKept {
		a.try(now.Add(time.Duration(i)), "x", "10."+string(rune(i)))
	}
	if len(a.by) > maxKept+2 {
		t.Errorf("%d are kept", len(a.by))
	}
	for remote, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::/64", "x": "unknown", "": "unknown"} {
		if got := sourceOf(remote); got != want {
			t.Errorf("%s is %s", remote, got)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	all := sessions{}
	cookie, s := all.open(now, User{Name: "alice"}, "")
	if all.find(now, cookie) != s || all.find(now, cookie+"x") != nil || !s.bears(s.token) || s.bears("") || s.token == cookie {
		t.Error("it isn't found")
	}
	for at := now; at.Before(now.Add(endAfter)); at = at.Add(idleAfter) {
		if all.find(at, cookie) == nil {
			t.Fatalf("it is over at %v", at.Sub(now))
		}
	}
	if all.find(now.Add(endAfter+time.Second), cookie) != nil {
		t.Error("it never ends")
	}
	cookie, _ = all.open(now, User{}, "")
	if all.find(now.Add(idleAfter+time.Second), cookie) != nil {
		t.Error("idle, and not over")
	}
	for range 2 * maxOpen {
		all.open(now, User{}, "")
	}
	if len(all) > maxOpen {
		t.Errorf("%d are open", len(all))
	}
}

type visitor struct {
	t      *testing.T
	g      *Gate
	cookie *http.Cookie
	from   string
}

func (v *visitor) do(method, body string, headers ...string) (int, map[string]any) {
	v.t.Helper()
	code, text := v.ask(method, "/api/session", body, headers...)
	var said map[string]any
	must(v.t, json.Unmarshal(text, &said))
	return code, said
}

func (v *visitor) ask(method, path, body string, headers ...string) (int, []byte) {
	v.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = v.from + ":1234"
	if v.cookie != nil {
		r.AddCookie(v.cookie)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	v.g.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		v.cookie = c
	}
	return w.Code, w.Body.Bytes()
}

func signIn(name, password, code string) string {
	b, _ := json.Marshal(credentials{Name: name, Password: password, Code: code})
	return string(b)
}

func codeAt(t *testing.T, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(shared, at)
	must(t, err)
	return c
}

func TestGate(t *testing.T) {
	alice := user("alice", Operator, shared)
	g, err := New([]User{alice}, Options{Secure: true, SecondFactor: true}, slog.New(slog.DiscardHandler))
	must(t, err)
	v := &visitor{t: t, g: g, from: "192.0.2.1"}
	if code, _ := v.do("GET", ""); code != http.StatusUnauthorized {
		t.Errorf("a stranger: %d", code)
	}
	used := codeAt(t, time.Now())
	for _, bad := range []string{signIn("alice", "wrong", used), signIn("alice", password, ""), signIn("alice", password, codeAt(t, time.Now().Add(-5*time.Minute)))} {
		if code, said := v.do("POST", bad); code != http.StatusUnauthorized || said["error"] != "name, password or second factor is wrong" || v.cookie != nil {
			t.Errorf("%s: %d %v", bad, code, said)
		}
	}
	for _, bad := range []string{"", "[]", `{"name": 7}`, `{"name": "alice", "role": "operator"}`, signIn("alice", strings.Repeat("x", 500), ""), strings.Repeat("x", 1<<16)} {
		if code, _ := v.do("POST", bad); code != http.StatusBadRequest {
			t.Errorf("%.40s: %d", bad, code)
		}
	}
	code, said := v.do("POST", signIn(" Alice ", password, used[:3]+" "+used[3:]))
	if code != http.StatusOK || said["role"] != "operator" || v.cookie.Name != "__Host-weir" || !v.cookie.HttpOnly || !v.cookie.Secure || v.cookie.SameSite != http.SameSiteStrictMode {
		t.Fatalf("%d %v %v", code, said, v.cookie)
	}
	token := said["token"].(string)
	if code, said := v.do("GET", ""); code != http.StatusOK || said["token"] != token {
		t.Errorf("%d %v", code, said)
	}
	again := &visitor{t: t, g: g, from: "192.0.2.2"}
	if code, _ := again.do("POST", signIn("alice", password, used)); code != http.StatusUnauthorized {
		t.Errorf("a used code: %d", code)
	}
	if code, _ := v.do("DELETE", ""); code != http.StatusUnauthorized {
		t.Errorf("signed out by another site: %d", code)
	}
	must(t, g.Replace([]User{alice}))
	if code, _ := v.do("GET", ""); code != http.StatusOK {
		t.Errorf("unchanged, and signed out: %d", code)
	}
	stolen := *v
	if code, _ := v.do("DELETE", "", TokenHeader, token); code != http.StatusOK {
		t.Errorf("signing out: %d", code)
	}
	if code, _ := stolen.do("GET", ""); code != http.StatusUnauthorized {
		t.Errorf("the cookie still works: %d", code)
	}
	if err := g.Replace([]User{user("bob", Viewer, "")}); err == nil || !strings.Contains(err.Error(), "second factor") {
		t.Errorf("no second factor: %v", err)
	}
}

func TestAChangedUserIsSignedOut(t *testing.T) {
	alice := user("alice", Operator, "")
	g, err := New([]User{alice}, Options{}, slog.New(slog.DiscardHandler))
	must(t, err)
	v := &visitor{t: t, g: g, from: "192.0.2.1"}
	if code, _ := v.do("POST", signIn("alice", password, "")); code != http.StatusOK || v.cookie.Name != "weir" {
		t.Fatalf("%d", code)
	}
	alice.Role = Viewer
	must(t, g.Replace([]User{alice}))
	if code, _ := v.do("GET", ""); code != http.StatusUnauthorized {
		t.Errorf("%d", code)
	}
}

// Many guesses at once are no more than five.
func TestGuessesAtOnce(t *testing.T) {
	g, err := New([]User{user("alice", Operator, "")}, Options{Proxy: true}, slog.New(slog.DiscardHandler))
	must(t, err)
	var mu sync.Mutex
	answers := map[int]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			v := &visitor{t: t, g: g, from: "127.0.0.1"}
			code, _ := v.do("POST", signIn("alice", "a wrong password", ""), "X-Forwarded-For", "198.51.100.1, 203.0.113.7")
			mu.Lock()
			defer mu.Unlock()
			answers[code]++
		})
	}
	wg.Wait()
	if answers[http.StatusUnauthorized]+answers[http.StatusServiceUnavailable] > sourceTries || answers[http.StatusTooManyRequests] < 50-sourceTries {
		t.Errorf("%v", answers)
	}
	honest := &visitor{t: t, g: g, from: "127.0.0.1"}
	if code, _ := honest.do("POST", signIn("alice", password, ""), "X-Forwarded-For", "198.51.100.9"); code != http.StatusOK {
		t.Errorf("from elsewhere: %d", code)
	}
}

// A crowd of guessers, each from elsewhere, doesn't keep out who has signed in before.
func TestCrowdOfGuessers(t *testing.T) {
	g, err := New([]User{user("alice", Operator, "")}, Options{}, slog.New(slog.DiscardHandler))
	must(t, err)
	alice := &visitor{t: t, g: g, from: "198.51.100.9"}
	if code, _ := alice.do("POST", signIn("alice", password, "")); code != http.StatusOK {
		t.Fatal(code)
	}
	for range maxHashing { // they take all of the time that there is
		g.slots <- struct{}{}
	}
	if code, _ := alice.do("POST", signIn("alice", password, "")); code != http.StatusOK {
		t.Errorf("she has to wait with them: %d", code)
	}
	if code, _ := (&visitor{t: t, g: g, from: "198.51.100.10"}).do("POST", signIn("alice", password, "")); code != http.StatusServiceUnavailable {
		t.Errorf("from elsewhere: %d", code)
	}
}
