package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// firstFew counts what is found in an import, and has a line of each of the first.
type firstFew struct {
	count int
	lines []string
}

func (f *firstFew) add(format string, args ...any) {
	if f.count++; f.count <= maxReported {
		f.lines = append(f.lines, fmt.Sprintf(format, args...))
	}
}

// write lists them under a title, or nothing when there are none.
func (f *firstFew) write(p *program, title string) {
	if f.count == 0 {
		return
	}
	p.Printf("%s:\n  %s\n", title, strings.Join(f.lines, "\n  "))
	if more := f.count - len(f.lines); more > 0 {
		p.Printf("  and %s\n", counted(more, "more activity", "more activities"))
	}
}

// noteImplausible remembers an activity that can hardly be right. It is taken as it is.
func (a *activities) noteImplausible(activity jobs.Activity) {
	if reasons := implausible(activity, a.today()); !activity.Deleted && len(reasons) > 0 {
		a.implausible.add("activity %d of user %d on %s: %s", activity.ActivityID, activity.UserID, activity.Date, strings.Join(reasons, "; "))
	}
}

// implausible says what can hardly be right with an activity, nothing for most.
func implausible(a jobs.Activity, today string) (reasons []string) {
	if a.Date > today {
		reasons = append(reasons, "a date after today, "+today)
	}
	session := trainingload.Session{Miles: valueOf(a.DistanceMiles), Feet: valueOf(a.ElevationGainFeet), Minutes: valueOf(a.DurationMinutes)}
	if a.SportType != nil {
		session.Sport = trainingload.Sport(*a.SportType)
	}
	return append(reasons, trainingload.Implausible(session, valueOf(a.TotalLoadMiles))...)
}

func valueOf(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

// today is the date where the athletes of an import live, as far as that is
// known.
func (a *activities) today() string {
	return time.Now().In(cmp.Or(a.options.Location, a.options.HomeLocation, time.UTC)).Format(time.DateOnly)
}
