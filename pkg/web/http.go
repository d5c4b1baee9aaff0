package web

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/weir-sensor/weir/pkg/web/page"
	"github.com/weir-sensor/weir/pkg/web/signin"
)

// policy lets the page load and ask its own server only, and nobody frame it. Styles are set by script through the object model.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'"

func (w *Web) handler() http.Handler {
	mux := http.NewServeMux()
	assets, err := loadAssets(page.Files())
	if err != nil {
		w.log.Error("the page can't be read", "err", err)
	}
	for name, a := range assets {
		pattern := "GET " + name
		if name == "/" {
			pattern = "GET /{$}"
		}
		mux.HandleFunc(pattern, a.serve)
	}
	if len(assets) == 0 {
		w.log.Warn("this weir was built without the page: run scripts/page before go build")
		mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "this weir was built without the page: run scripts/page before go build", http.StatusNotImplemented)
		})
	}
	for pattern, serve := range map[string]http.HandlerFunc{
		"GET /api/live": w.live, "POST /api/command": w.command, "GET /api/history": w.past, "GET /api/rows": w.older, "GET /api/download": w.download,
	} {
		mux.HandleFunc(pattern, w.signedIn(serve))
	}
	if w.gate != nil {
		mux.Handle("/api/session", w.gate)
		mux.Handle("/api/session/", w.gate)
	} else {
		mux.HandleFunc("GET /api/session", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, http.StatusOK, anybody) })
	}
	return w.guard(http.NewCrossOriginProtection().Handler(mux))
}

// anybody is who comes where nobody has to sign in.
var anybody = signin.Person{Role: signin.Operator}

// who tells who a request is from.
func (w *Web) who(r *http.Request) (signin.Person, bool) {
	if w.gate == nil {
		p := anybody
		p.From = r.RemoteAddr
		return p, true
	}
	return w.gate.Who(r)
}

// signedIn lets nobody else come.
func (w *Web) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if _, ok := w.who(r); !ok {
			refuse(rw, http.StatusUnauthorized, "sign in")
			return
		}
		admit(r)
		next(rw, r)
	}
}

// guard sets the headers that keep other sites away from the page, and refuses names that aren't this machine's: another site's name
// may be made to lead here (DNS rebinding).
func (w *Web) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !isLoopback(strings.Trim(host, "[]")) && (w.cfg.Origin == "" || "https://"+r.Host != w.cfg.Origin) {
			http.Error(rw, "this page has another name: ask for it as web.origin says, or on this machine as 127.0.0.1", http.StatusMisdirectedRequest)
			return
		}
		if w.cfg.secure() {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(rw, r)
	})
}

// answer writes JSON.
func answer(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v) // a browser that is gone
}

// refuse says what was wrong in one line.
func refuse(rw http.ResponseWriter, status int, format string, args ...any) {
	answer(rw, status, map[string]string{"error": fmt.Sprintf(format, args...)})
}
