package web

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/trainingload"
)

// How many of the newest rows of each list the page shows. The limit of a day's
// activities is never reached.
const (
	recentDays    = 28
	maxDoubles    = 20
	maxRejects    = 20
	maxWaiting    = 20
	maxActivities = 200
)

// athletePage is the data of athlete.html.
type athletePage struct {
	page
	User          string // as entered, like the dates
	From, To, Day string
	Faults        []string
	asked         athleteRange

	Bounds  athlete.Bounds
	Days    []athlete.Day
	Recent  []athlete.Day // the newest first
	Later   athlete.Later
	Stale   int
	Why     string // why days are stale
	Chart   athleteChart
	Notes   []qualityNote
	Links   []rangeLink
	Formula athlete.Formula
	Entered []string // what the athlete has entered, for TRIMP and for dates
	Written string   // why results are not written; empty when they are

	Activities []athlete.Activity // of Day
	Waiting    []queue.WaitingJob
	All        bool // all waiting jobs were searched
	Rejects    []admin.Reject
	Doubles    []athlete.Double
}

// Shown returns the newest day of the range.
func (p athletePage) Shown() athlete.Day { return p.Days[len(p.Days)-1] }

// IsToday reports whether the newest day is today.
func (p athletePage) IsToday() bool { return p.Shown().Date == p.Bounds.Today.Format(time.DateOnly) }

// Bands returns the bands for the legend.
func (p athletePage) Bands() []ratioBand { return ratioBands }

// DayLink returns the address of the page with a day's activities.
func (p athletePage) DayLink(day string) template.URL {
	date, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return ""
	}
	return p.asked.link(p.User, nil, &date) + "#day"
}

func (p *pages) athlete(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	data := athletePage{page: p.page("Athlete", r), User: strings.TrimSpace(q.Get("user")), From: q.Get("from"), To: q.Get("to"), Day: q.Get("day")}
	status := http.StatusOK
	if data.User != "" {
		status = p.readAthlete(r, &data)
	}
	p.render(w, r, status, "athlete.html", &data)
}

func (p *pages) readAthlete(r *http.Request, data *athletePage) (status int) {
	id, err := strconv.ParseInt(data.User, 10, 32)
	if err != nil || id <= 0 {
		data.Faults = append(data.Faults, fmt.Sprintf("user must be a positive whole number below 2147483648, got %.40q.", data.User))
	}
	if data.asked, err = parseRange(r.URL.Query()); err != nil {
		for line := range strings.Lines(err.Error()) {
			data.Faults = append(data.Faults, strings.TrimSpace(line)+".")
		}
	}
	if len(data.Faults) > 0 {
		return http.StatusBadRequest
	}
	data.User = strconv.FormatInt(id, 10)
	data.Title = "Athlete " + data.User
	if err = p.readSeries(r.Context(), int32(id), data); err == nil {
		err = p.readBeside(r.Context(), int32(id), data)
	}
	if err != nil {
		p.options.Logger.WarnContext(r.Context(), "athlete not shown", slog.Int64("user_id", id), slog.String("error", err.Error()))
		*data = athletePage{page: data.page, User: data.User, From: data.From, To: data.To, Day: data.Day, Faults: []string{"The database did not answer. Try again."}}
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// readSeries reads the days of the range.
func (p *pages) readSeries(ctx context.Context, id int32, data *athletePage) (err error) {
	db := p.options.Pool
	if data.Bounds, err = athlete.ReadBounds(ctx, db, id); err != nil {
		return err
	}
	if data.Later, err = athlete.ReadLater(ctx, db, id); err != nil {
		return err
	}
	from, to := data.asked.within(data.Bounds)
	if data.Bounds.First == nil || from.After(to) {
		return nil
	}
	if data.Days, err = athlete.ReadDays(ctx, db, id, &from, &to, p.options.Rounding); err != nil || len(data.Days) == 0 {
		return err
	}
	data.From, data.To = from.Format(time.DateOnly), to.Format(time.DateOnly)
	data.Links = data.asked.links(data.User, data.Bounds)
	data.Recent = slices.Clone(data.Days[max(0, len(data.Days)-recentDays):])
	slices.Reverse(data.Recent)
	data.Chart, data.Notes = newAthleteChart(data.User, data.Days), qualityNotes(data.Days)
	if data.Stale = athlete.StaleDays(data.Days); data.Stale > 0 {
		if data.Why, err = admin.WhyStale(ctx, db, p.options.RiverSchema, id); err != nil {
			return err
		}
	}
	if athlete.Marked(data.Days, athlete.LikelyDouble) > 0 {
		data.Doubles, err = athlete.ListDoubles(ctx, db, id, &from, &to, maxDoubles)
	}
	return err
}

// readBeside reads the rest of the page: settings, activities, jobs and rejects.
func (p *pages) readBeside(ctx context.Context, id int32, data *athletePage) (err error) {
	db := p.options.Pool
	if data.Formula, err = athlete.ReadFormula(ctx, db, id); err != nil {
		return err
	}
	if data.Entered, err = readEntered(ctx, db, id); err != nil {
		return err
	}
	writing, err := admin.ReadWriting(ctx, db)
	if err != nil {
		return err
	}
	if writing.Mode != admin.WriteUnknown {
		data.Written = writing.Withheld(id)
	}
	if data.asked.day != nil {
		if data.Activities, err = athlete.ReadActivities(ctx, db, id, *data.asked.day, maxActivities); err != nil {
			return err
		}
	}
	if data.Waiting, data.All, err = queue.Schema(p.options.RiverSchema).WaitingForUser(ctx, db, id, maxWaiting); err != nil {
		return err
	}
	data.Rejects, err = p.actions.ListRejects(ctx, admin.Filter{User: id}, maxRejects)
	return err
}

// readEntered describes the user's settings in the application.
func readEntered(ctx context.Context, db dbpool.Querier, id int32) ([]string, error) {
	exist, err := athlete.SettingsExist(ctx, db)
	if err != nil || !exist {
		return nil, err
	}
	s, err := athlete.ReadSettings(ctx, db, id)
	if dbpool.SQLState(err) == dbpool.InsufficientPrivilege {
		return []string{"user_settings may not be read by the worker's role"}, nil
	}
	if err != nil {
		return nil, err
	}
	known := func(name, value, otherwise string) string {
		if strings.TrimSpace(value) == "" {
			return name + " " + otherwise + " (nothing is entered)"
		}
		return name + " " + value
	}
	usual := trainingload.DefaultHeartRate
	words := []string{
		known("resting heart rate", s.RestingHR, fmt.Sprintf("%g", usual.Resting)), known("maximal heart rate", s.MaxHR, fmt.Sprintf("%g", usual.Max)),
		known("gender", s.Gender, string(usual.Gender)), known("time zone", s.Timezone, "UTC"),
	}
	if _, err := s.HeartRate(usual); err != nil {
		words = append(words, err.Error())
	}
	if _, err := s.Location(); err != nil {
		words = append(words, err.Error())
	}
	return words, nil
}
