package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// implausibles are the implausible activities of an import. They are enqueued unchanged.
type implausibles struct {
	count int
	lines []string // the first of them
}

// note checks an activity. today is the date in the athletes' time zone.
func (i *implausibles) note(a jobs.Activity, today string) {
	reasons := implausible(a, today)
	if a.Deleted || len(reasons) == 0 {
		return
	}
	if i.count++; i.count <= maxReported {
		i.lines = append(i.lines, fmt.Sprintf("activity %d of user %d on %s: %s", a.ActivityID, a.UserID, a.Date, strings.Join(reasons, "; ")))
	}
}

// implausible returns what is implausible about an activity; nil for most.
func implausible(a jobs.Activity, today string) (reasons []string) {
	if a.Date > today {
		reasons = append(reasons, "a date after today, "+today)
	}
	session := trainingload.Session{Miles: valueOrZero(a.DistanceMiles), Feet: valueOrZero(a.ElevationGainFeet), Minutes: valueOrZero(a.DurationMinutes)}
	if a.SportType != nil {
		session.Sport = trainingload.Sport(*a.SportType)
	}
	return append(reasons, trainingload.Implausible(session, valueOrZero(a.TotalLoadMiles))...)
}

func valueOrZero(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

// write lists them, or nothing when there are none.
func (i *implausibles) write(w io.Writer) {
	if i.count == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "implausible, and taken as they are:\n  %s\n", strings.Join(i.lines, "\n  "))
	if more := i.count - len(i.lines); more > 0 {
		_, _ = fmt.Fprintf(w, "  and %s\n", counted(more, "more activity", "more activities"))
	}
}

// today returns the date in the time zone of the import's athletes, if it is known.
func (a *activities) today() string {
	return time.Now().In(cmp.Or(a.options.Location, a.options.HomeLocation, time.UTC)).Format(time.DateOnly)
}
