package operations

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/trainingmonkey/worker/internal/overview"
)

//go:embed web/*.html web/style.css
var web embed.FS

// templates are parsed once: a mistake in them fails every test.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"ago": ago, "count": count, "grouped": grouped, "share": shareOf, "when": when, "optional": optional, "show": show, "known": known,
}).ParseFS(web, "web/*.html"))

func style(w http.ResponseWriter, _ *http.Request) {
	content, err := web.ReadFile("web/style.css")
	if err != nil {
		http.Error(w, "no stylesheet", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(content)
}

// pages renders what operators look at.
type pages struct{ options Options }

// page is what every page has.
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

// statusPage is the data of status.html.
type statusPage struct {
	page
	Verdict  verdict
	Findings []overview.Finding
	Snapshot overview.Snapshot
	Known    bool   // there is a snapshot
	From     string // how long ago it was taken, where that matters
	Process  processPanel
}

func (p *pages) status(w http.ResponseWriter, r *http.Request) {
	s, age, known := p.options.Overview.Latest()
	process := p.process()
	reasons := p.options.Readiness.Reasons()
	from := ageOf(age, known, answers(reasons))
	findings := localFindings(process, reasons)
	if known {
		findings = append(findings, aged(s.Findings(), from)...)
	}
	p.render(w, r, http.StatusOK, "status.html", statusPage{
		page: p.page("Status", r), Verdict: verdictOf(s, age, known, reasons), Findings: bySeverity(findings),
		Snapshot: s, Known: known, From: from, Process: process,
	})
}

// render writes the page when all of it is there, so that a fault in the middle
// is a fault and no half page.
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
