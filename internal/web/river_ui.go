package web

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"riverqueue.com/riverui"

	"github.com/trainingmonkey/worker/workers"
)

const riverPrefix = "/river"

// riverPolicy allows what River UI needs: its own scripts, and styles that
// these set on elements.
const riverPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; " +
	"manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// riverUI is River's own UI, with which jobs can be read, retried and cancelled. It is
// deliberately not started: its background service counts every job again and again, even
// when no page is open. Unstarted, it counts up to a limit on request.
func riverUI(o Options) (http.Handler, error) {
	ui, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints:                riverui.NewEndpoints(o.Service.Client(), nil),
		JobListHideArgsByDefault: true,
		Logger:                   workers.RiverLogger(o.Logger),
		Prefix:                   riverPrefix,
	})
	if err != nil {
		return nil, fmt.Errorf("river ui: %w", err)
	}
	return audited(o.Logger, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", riverPolicy)
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			ui.ServeHTTP(w, r)
			return
		}
		document := &document{ResponseWriter: w, status: http.StatusOK}
		ui.ServeHTTP(document, r)
		document.send()
	})), nil
}

// backLink leads from River's pages to ours. River UI has no place for it, so it is in
// a corner of the document in which River's script builds its pages.
const backLink = `<a href="/" style="position:fixed;right:.75rem;bottom:.75rem;z-index:50;padding:.25rem .75rem;border-radius:6px;` +
	`background:#1c1e21;color:#fff;font:0.8125rem/1.6 system-ui,sans-serif;text-decoration:none">Worker status</a>`

// document buffers one of River's pages, so that it can be changed before it is sent.
type document struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (d *document) WriteHeader(status int) { d.status = status }

// Write implements http.ResponseWriter.
func (d *document) Write(b []byte) (int, error) { return d.body.Write(b) }

func (d *document) send() {
	body := d.body.Bytes()
	if strings.HasPrefix(d.Header().Get("Content-Type"), "text/html") {
		body = bytes.Replace(body, []byte("</body>"), []byte(backLink+"</body>"), 1)
		d.Header().Del("Content-Length")
	}
	d.ResponseWriter.WriteHeader(d.status)
	_, _ = d.ResponseWriter.Write(body)
}

// maxLogged is how many bytes of a request to River's UI are logged: a few hundred ids.
const maxLogged = 2000

// audited logs changes made through River's UI and who made them.
func audited(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the request cannot be read", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(asked))
		user, _, _ := r.BasicAuth()
		logger.InfoContext(r.Context(), "River's UI is asked for a change", slog.String("change", r.Method+" "+r.URL.Path),
			slog.String("asked", string(asked[:min(len(asked), maxLogged)])), slog.String("user", user), slog.String("from", r.RemoteAddr))
		next.ServeHTTP(w, r)
	})
}
