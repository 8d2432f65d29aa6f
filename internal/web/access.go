package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
)

// Access says where the server listens and who may see its pages. Probes and
// metrics are public, because they describe the system and no athlete.
type Access struct {
	Listen         string // host:port
	User, Password string // both or none
}

// Check returns an error if pages without credentials would be reachable from other
// machines.
func (a Access) Check() error {
	switch {
	case (a.User == "") != (a.Password == ""):
		return errors.New("TMWORKER_OPERATIONS_USER and TMWORKER_OPERATIONS_PASSWORD go together: set both or none")
	case a.User == "" && !isLoopback(a.Listen):
		return errors.New("operations.listen (" + a.Listen + ") can be reached from other machines: set TMWORKER_OPERATIONS_USER and TMWORKER_OPERATIONS_PASSWORD, or listen on 127.0.0.1")
	}
	return nil
}

// isLoopback reports whether only this machine can reach the host of an address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address // a Host header without a port
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// authenticate requires the credentials. If none are configured, it only serves loopback
// names, because a foreign web page could make its own name resolve to 127.0.0.1 and
// read the pages through the operator's browser.
func (a Access) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.User == "" {
			if !isLoopback(r.Host) {
				http.Error(w, "only as localhost or 127.0.0.1", http.StatusMisdirectedRequest)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		user, password, _ := r.BasicAuth()
		if !same(user, a.User) || !same(password, a.Password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="TrainingMonkey worker", charset="UTF-8"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// same compares in constant time.
func same(given, want string) bool {
	g, w := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(g[:], w[:]) == 1
}

// withLimits limits the size of bodies.
func withLimits(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// pagePolicy allows the page's own stylesheet, script and events, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// withHeaders sets the security headers.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Cache-Control":                "no-store",
			"Content-Security-Policy":      pagePolicy,
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy":              "no-referrer",
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
		} {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}
