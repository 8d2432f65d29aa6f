package operations

import (
	"bytes"
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/trainingmonkey/worker/internal/doubles"
	"github.com/trainingmonkey/worker/internal/operator"
	"github.com/trainingmonkey/worker/internal/overview"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/series"
)

//go:embed web/*.html web/style.css web/live.js
var web embed.FS

// templates are parsed once: a mistake in them fails every test.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"ago": ago, "count": count, "grouped": grouped, "share": shareOf, "when": when, "optional": optional, "button": func(change string) string { return changeKinds[change].button },
}).ParseFS(web, "web/*.html"))

// file serves one of our own files.
func file(name, contentType string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		content, err := web.ReadFile("web/" + name)
		if err != nil {
			http.Error(w, "there is no "+name, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "max-age=300")
		_, _ = w.Write(content)
	})
}

// pages renders what operators look at, and does what they ask for.
type pages struct {
	options  Options
	admin    *queue.Admin
	operator *operator.Operator
	done     doneKey
}

func newPages(o Options) (*pages, error) {
	p := &pages{options: o, done: make(doneKey, 32)}
	_, _ = rand.Read(p.done) // never fails
	var err error
	if p.admin, err = queue.NewAdmin(o.Pool, queue.Schema(o.RiverSchema)); err != nil {
		return nil, err
	}
	if p.operator, err = operator.New(o.Pool, o.RiverSchema); err != nil {
		return nil, err
	}
	return p, nil
}

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

// athletePage is the data of athlete.html.
type athletePage struct {
	page
	User    string // as it was typed
	Fault   string
	Days    []series.Day
	Recent  []series.Day // the newest first: today
	Later   series.Later
	Stale   int
	Why     string // days are stale
	Notes   []qualityNote
	Plot    template.HTML
	Doubles []doubles.Double // the newest first
}

// recentDays is how many days the table has, mostDoubles how many likely doubles
// the page lists.
const (
	recentDays  = 28
	mostDoubles = 20
)

func (p *pages) athlete(w http.ResponseWriter, r *http.Request) {
	data := athletePage{page: p.page("Athlete", r), User: r.URL.Query().Get("user")}
	status := http.StatusOK
	if data.User != "" {
		status = p.readAthlete(r, &data)
	}
	p.render(w, r, status, "athlete.html", data)
}

func (p *pages) readAthlete(r *http.Request, data *athletePage) (status int) {
	id, err := strconv.ParseInt(data.User, 10, 32)
	if err != nil || id <= 0 {
		data.Fault = "A user id is a positive whole number."
		return http.StatusBadRequest
	}
	data.Title = "Athlete " + data.User
	days, err := series.Read(r.Context(), p.options.Pool, int32(id), nil, nil, p.options.Rounding)
	if err == nil {
		data.Later, err = series.ReadLater(r.Context(), p.options.Pool, int32(id))
	}
	if err == nil && series.Marked(days, series.LikelyDouble) > 0 {
		data.Doubles, err = doubles.List(r.Context(), p.options.Pool, int32(id), nil, nil, mostDoubles)
	}
	if err == nil && series.StaleDays(days) > 0 {
		data.Why, err = overview.WhyStale(r.Context(), p.options.Pool, p.options.RiverSchema, int32(id))
	}
	if err != nil {
		p.options.Logger.WarnContext(r.Context(), "athlete not shown", slog.Int64("user_id", id), slog.String("error", err.Error()))
		data.Fault = "The database did not answer. Try again."
		return http.StatusServiceUnavailable
	}
	data.Days = days[max(0, len(days)-mostPlotted):]
	data.Stale = series.StaleDays(days)
	for i := len(days) - 1; i >= max(0, len(days)-recentDays); i-- {
		data.Recent = append(data.Recent, days[i])
	}
	data.Notes = qualityNotes(data.Days)
	data.Plot = athletePlot(data.User, data.Days)
	return http.StatusOK
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
