package web_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestAccessCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		access web.Access
		want   string // of the error, "" for none
	}{
		{web.Access{Listen: "127.0.0.1:8080"}, ""},
		{web.Access{Listen: "[::1]:8080"}, ""},
		{web.Access{Listen: "localhost:8080"}, ""},
		{web.Access{Listen: ":8080"}, "can be reached from other machines"},
		{web.Access{Listen: "0.0.0.0:8080"}, "can be reached from other machines"},
		{web.Access{Listen: "10.1.2.3:8080"}, "can be reached from other machines"},
		{web.Access{Listen: "localhost.example.org:8080"}, "can be reached from other machines"},
		{web.Access{Listen: "0.0.0.0:8080", User: "a", Password: "b"}, ""},
		{web.Access{Listen: "127.0.0.1:8080", User: "a"}, "go together"},
		{web.Access{Listen: "0.0.0.0:8080", Password: "b"}, "go together"},
	} {
		err := c.access.Check()
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("Check(%+v) = %v, want %q", c.access, err, c.want)
		}
	}
}

const user, password = "operator", "correct horse battery staple"

// answer is the part of a response that tests check.
type answer struct {
	status int
	header http.Header
}

// request sends a plain request with a test's changes.
func request(t *testing.T, method, address, body string, change ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return answer{response.StatusCode, response.Header}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func credentials(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

var protected = []string{"/", "/athlete?user=1", "/athletes", "/athlete.js", "/athlete.css", "/style.css", "/live.js", "/events", "/river/", "/river/api/queues", "/river/jobs"}

func TestPagesNeedCredentials(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.options.Access.User, r.options.Access.Password = user, password
	base := r.serve()
	for _, path := range protected {
		for name, change := range map[string]func(*http.Request){
			"none":           func(*http.Request) {},
			"wrong password": credentials(user, password+"!"),
			"wrong user":     credentials("root", password),
			"empty":          credentials("", ""),
		} {
			got := request(t, http.MethodGet, base+path, "", change)
			if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s with credentials %s = %d, want 401", path, name, got.status)
			}
		}
		if got := request(t, http.MethodGet, base+path, "", credentials(user, password)); got.status != http.StatusOK {
			t.Errorf("%s with credentials = %d, want 200", path, got.status)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 200} { // no check has run yet
		if got := request(t, http.MethodGet, base+path, ""); got.status != want {
			t.Errorf("%s = %d, want %d: probes and metrics are open", path, got.status, want)
		}
	}
}

// TestWithoutCredentialsOnlyThisMachine: a host name that another site's page had
// resolve to 127.0.0.1 is refused.
func TestWithoutCredentialsOnlyThisMachine(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	base := r.serve()
	for _, path := range protected {
		for host, want := range map[string]int{"": 200, "localhost:8080": 200, "attacker.example:8080": 421, "127.0.0.1.attacker.example": 421} {
			got := request(t, http.MethodGet, base+path, "", func(r *http.Request) { r.Host = host })
			if got.status != want {
				t.Errorf("%s as host %q = %d, want %d", path, host, got.status, want)
			}
		}
	}
}

func TestCrossOriginRequestsChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.run()
	r.waitForReason("", noticed)
	base := r.serve()
	pause := base + "/river/api/queues/ingest/pause"
	for name, change := range map[string]func(*http.Request){
		"another site":         header("Sec-Fetch-Site", "cross-site"),
		"a subdomain":          header("Sec-Fetch-Site", "same-site"),
		"an old browser's":     header("Origin", "https://attacker.example"),
		"a sandboxed document": header("Origin", "null"),
	} {
		if got := request(t, http.MethodPut, pause, "{}", change); got.status != http.StatusForbidden {
			t.Errorf("PUT from %s = %d, want 403", name, got.status)
		}
	}
	paused := func() (paused bool) {
		if err := r.pool.QueryRow(t.Context(), `SELECT paused_at IS NOT NULL FROM river.river_queue WHERE name = 'ingest'`).Scan(&paused); err != nil {
			t.Fatal(err)
		}
		return paused
	}
	if paused() {
		t.Error("a request from elsewhere paused the queue")
	}
	if got := request(t, http.MethodPut, pause, "{}", header("Sec-Fetch-Site", "same-origin"), header("Origin", base)); got.status != http.StatusOK || !paused() {
		t.Errorf("the page's own PUT = %d, paused = %v, want 200 and true", got.status, paused())
	}
}

func TestOversizedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	base := r.serve()
	large := strings.Repeat(" ", 2<<20)
	if got := request(t, http.MethodPost, base+"/river/api/jobs/cancel", large); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 2 MiB = %d, want 413", got.status)
	}
	chunked := request(t, http.MethodPost, base+"/river/api/jobs/cancel", large, func(r *http.Request) { r.ContentLength = -1 })
	if chunked.status < 400 {
		t.Errorf("a body of 2 MiB in chunks = %d, want a refusal", chunked.status)
	}
	if got := request(t, http.MethodGet, base+"/", "", header("X-Large", strings.Repeat("x", 64<<10))); got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 64 KiB = %d, want 431", got.status)
	}
}

// TestSlowRequestsAreCutOff sends a header byte by byte, and a body that never arrives.
func TestSlowRequestsAreCutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	host := hostName(t, r.serve())
	for name, c := range map[string]struct {
		opening string
		within  time.Duration
	}{
		"header": {"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 8 * time.Second},
		"body":   {"POST /river/api/jobs/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{", 14 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			began := time.Now()
			if _, err := fmt.Fprint(conn, c.opening); err != nil {
				t.Fatal(err)
			}
			go func() {
				for range 100 {
					time.Sleep(200 * time.Millisecond)
					if _, err := conn.Write([]byte(" ")); err != nil {
						return
					}
				}
			}()
			_ = conn.SetReadDeadline(time.Now().Add(c.within))
			response := bufio.NewReader(conn)
			for err == nil {
				_, err = response.ReadByte()
			}
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // not wrapped
				t.Errorf("the connection is still open after %v", time.Since(began))
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	for _, path := range []string{"/", "/athlete", "/athletes", "/river/", "/metrics", "/nowhere"} {
		got := r.get(path).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got.Get(name) != want {
				t.Errorf("%s: %s = %q, want %q", path, name, got.Get(name), want)
			}
		}
		policy := got.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "script-src 'self' 'unsafe") {
			t.Errorf("%s: policy = %q", path, policy)
		}
	}
}
