package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// firstFew counts findings in an import, and has a line for each of the first maxReported.
type firstFew struct {
	count int
	lines []string
}

func (f *firstFew) add(format string, args ...any) {
	if f.count++; f.count <= maxReported {
		f.lines = append(f.lines, fmt.Sprintf(format, args...))
	}
}

// write lists the findings under a title, or prints nothing if there are none.
func (f *firstFew) write(p *program, title string) {
	if f.count == 0 {
		return
	}
	p.Printf("%s:\n  %s\n", title, strings.Join(f.lines, "\n  "))
	if more := f.count - len(f.lines); more > 0 {
		p.Printf("  and %s\n", cli.Counted(more, "more activity", "more activities"))
	}
}

// noteImplausible checks an activity. An implausible one is enqueued unchanged.
func (a *activities) noteImplausible(activity jobs.Activity) {
	if reasons := implausible(activity, a.today()); !activity.Deleted && len(reasons) > 0 {
		a.implausible.add("activity %d of user %d on %s: %s", activity.ActivityID, activity.UserID, activity.Date, strings.Join(reasons, "; "))
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

func valueOrZero(x *float64) float64 { return *cmp.Or(x, new(float64)) }

// today returns the date in the time zone of the import's athletes, if it is known.
func (a *activities) today() string {
	return time.Now().In(cmp.Or(a.options.Location, a.options.HomeLocation, time.UTC)).Format(time.DateOnly)
}
