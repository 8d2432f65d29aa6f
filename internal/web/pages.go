package web

import (
	"bytes"
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/queue"
)

//go:embed web
var web embed.FS

// templates are parsed at the start, so that an error in them fails every test.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"ago": ago, "count": count, "grouped": grouped, "share": backfillShare, "when": when, "show": show, "known": known, "button": func(change string) string { return changeKinds[change].Button },
}).ParseFS(web, "web/*.html"))

// file serves an embedded file.
func file(name, contentType string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "max-age=300")
		http.ServeFileFS(w, r, web, "web/"+name)
	})
}

// pages renders the operator's pages and makes the changes requested there.
type pages struct {
	options Options
	admin   *queue.Admin
	actions *admin.Actions
	done    doneKey
}

func newPages(o Options) (*pages, error) {
	p := &pages{options: o, done: make(doneKey, 32)}
	_, _ = rand.Read(p.done) // never fails
	var err error
	if p.admin, err = queue.NewAdmin(o.Pool, queue.Schema(o.RiverSchema)); err != nil {
		return nil, err
	}
	if p.actions, err = admin.NewActions(o.Pool, o.RiverSchema); err != nil {
		return nil, err
	}
	return p, nil
}

// page is the data common to all pages.
type page struct {
	Title   string
	Version string
	Refresh int // seconds; 0 for never
	Now     time.Time
}

const refreshEvery = 10

func (p *pages) page(title string, r *http.Request) page {
	refresh := 0
	if r.URL.Query().Has("refresh") {
		refresh = refreshEvery
	}
	return page{Title: title, Version: p.options.Version, Refresh: refresh, Now: time.Now().UTC()}
}

// render executes the template into memory first, so that an error results in an error
// page and not in half a page.
func (p *pages) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		p.options.Logger.ErrorContext(r.Context(), "page not rendered", slog.String("page", name), slog.String("error", err.Error()))
		http.Error(w, "this page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if _, err := b.WriteTo(w); err != nil && !errors.Is(err, http.ErrHandlerTimeout) {
		p.options.Logger.DebugContext(r.Context(), "page not sent", slog.String("error", err.Error()))
	}
}
