package web

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"time"

	"github.com/trainingmonkey/worker/internal/athlete"
)

// maxDays is the max length of a range.
const maxDays = 40 * 366

// athleteRange has the requested dates; nil if not given.
type athleteRange struct{ from, to, day *time.Time }

// parseRange reads the dates of a query and reports every fault at once.
func parseRange(query url.Values) (r athleteRange, err error) {
	var faults []error
	for _, field := range []struct {
		name string
		date **time.Time
	}{{"from", &r.from}, {"to", &r.to}, {"day", &r.day}} {
		value := query.Get(field.name)
		if value == "" {
			continue
		}
		date, err := time.Parse(time.DateOnly, value)
		if err != nil || date.Year() < 1 {
			faults = append(faults, fmt.Errorf("%s must be a date as 2025-01-31, got %.40q", field.name, value))
			continue
		}
		*field.date = &date
	}
	if r.from != nil && r.to != nil {
		switch {
		case r.from.After(*r.to):
			faults = append(faults, fmt.Errorf("from (%s) must not be after to (%s)", r.from.Format(time.DateOnly), r.to.Format(time.DateOnly)))
		case r.to.After(r.from.AddDate(0, 0, maxDays-1)):
			faults = append(faults, fmt.Errorf("from (%s) must be at most %d days before to (%s)", r.from.Format(time.DateOnly), maxDays-1, r.to.Format(time.DateOnly)))
		}
	}
	return r, errors.Join(faults...)
}

// within fills in the defaults: the year up to today, but not before the first activity.
func (r athleteRange) within(b athlete.Bounds) (from, to time.Time) {
	to = *cmp.Or(r.to, &b.Today)
	from = yearBefore(to)
	if r.from != nil {
		from = *r.from
		if r.to == nil && from.After(to) {
			to = from
		}
	}
	if b.First != nil {
		from = later(from, *b.First)
	}
	return later(from, to.AddDate(0, 0, 1-maxDays)), to
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func yearBefore(to time.Time) time.Time { return to.AddDate(-1, 0, 1) }

// rangeLink is a link to a range.
type rangeLink struct {
	Text    string
	Link    template.URL
	Current bool
}

// links returns the links to ranges up to today, or up to the requested day.
func (r athleteRange) links(user string, b athlete.Bounds) (links []rangeLink) {
	from, to := r.within(b)
	earliest := yearBefore(to)
	if b.First != nil {
		earliest = *b.First
	}
	earliest = later(earliest, to.AddDate(0, 0, 1-maxDays))
	marked := false
	for _, l := range []struct {
		text string
		from time.Time
	}{{"3 months", to.AddDate(0, -3, 1)}, {"1 year", yearBefore(to)}, {"all", earliest}} {
		shown := later(l.from, earliest)
		links = append(links, rangeLink{l.text, r.link(user, &l.from, nil), shown.Equal(from) && !marked})
		marked = marked || shown.Equal(from) // only one of equal ranges
	}
	return links
}

// link returns the address of the page with a range that begins at from, nil for the
// requested one, and a day, nil for none.
func (r athleteRange) link(user string, from, day *time.Time) template.URL {
	q := url.Values{"user": {user}}
	for name, date := range map[string]*time.Time{"from": cmp.Or(from, r.from), "to": r.to, "day": day} {
		if date != nil {
			q.Set(name, date.Format(time.DateOnly))
		}
	}
	return template.URL("/athlete?" + q.Encode())
}
