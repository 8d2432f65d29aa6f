package workers

import (
	"slices"
	"time"

	"github.com/trainingmonkey/worker/jobs"
)

// Windows are computed with dates as days since 1970-01-01.

func daysSinceEpoch(date string) int32 {
	d, err := jobs.ParseDate(date)
	if err != nil {
		panic("date was not validated: " + err.Error())
	}
	return toDays(d)
}

func toDays(d time.Time) int32 { return int32(d.Unix() / secondsPerDay) }

func toDate(days int32) time.Time { return time.Unix(int64(days)*secondsPerDay, 0).UTC() }

const secondsPerDay = 24 * 60 * 60

// dayRange is a range of dates, both ends included.
type dayRange struct{ from, to int32 }

// nearby is the max distance, in days, of dates that share a range: under most
// settings their windows overlap.
const nearby = 28

// firstDay and lastDay are the first and the last day that a job can name. Rows that the
// application stored may have others.
var firstDay, lastDay = daysSinceEpoch("1900-01-01"), daysSinceEpoch("2999-12-31")

// recalcRanges returns a user's days as the ranges of an acwr_recalc job. It leaves out
// days that no job can name, as change capture does.
func recalcRanges(userID int32, days []int32) (ranges []jobs.DateRange) {
	var single []dayRange
	for _, d := range days {
		if d >= firstDay && d <= lastDay {
			single = append(single, dayRange{d, d})
		}
	}
	for _, r := range mergeRanges(single, nearby) {
		ranges = append(ranges, jobs.DateRange{UserID: userID, From: toDate(r.from).Format(time.DateOnly), To: toDate(r.to).Format(time.DateOnly)})
	}
	return ranges
}

// mergeRanges merges ranges that are at most reach days apart, and returns them
// ascending and disjoint.
func mergeRanges(ranges []dayRange, reach int32) []dayRange {
	slices.SortFunc(ranges, func(a, b dayRange) int { return int(a.from) - int(b.from) })
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && r.from <= merged[n-1].to+reach {
			merged[n-1].to = max(merged[n-1].to, r.to)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}
