package web

import (
	"strconv"
	"time"
)

// tick marks where a week, a month, a quarter or a year begins.
type tick struct {
	day   int // index among the drawn days
	text  string
	minor bool // its text is omitted where space is short
}

// Lengths of the ranges that are divided into weeks, into months and into
// quarters; longer ones are divided into years.
const (
	maxInWeeks    = 45
	maxInMonths   = 430
	maxInQuarters = 1500
	maxYears      = 12 // with a text
)

// axisTicks divides the days from first on. January shows its year.
func axisTicks(first time.Time, days int) (ticks []tick) {
	last := first.AddDate(0, 0, days-1)
	if days <= maxInWeeks {
		for day := (8 - int(first.Weekday())) % 7; day < days; day += 7 { // Mondays
			ticks = append(ticks, tick{day, first.AddDate(0, 0, day).Format("2 Jan"), len(ticks)%2 == 1})
		}
		return withoutLast(ticks, days)
	}
	everyYears := (last.Year()-first.Year())/maxYears + 1
	for month := time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, time.UTC); !month.After(last); month = month.AddDate(0, 1, 0) {
		if month.Before(first) {
			continue
		}
		t := tick{day: int(month.Sub(first).Hours() / 24), text: month.Format("Jan")}
		switch number := int(month.Month()) - 1; {
		case number == 0:
			t.text = strconv.Itoa(month.Year())
			t.minor = days > maxInQuarters && month.Year()/everyYears%2 == 1
			if month.Year()%everyYears != 0 {
				continue
			}
		case days <= maxInMonths:
			t.minor = days > maxInMonths/3 && number%3 != 0
		case days <= maxInQuarters && number%3 == 0:
			t.minor = number != 6
		default:
			continue
		}
		ticks = append(ticks, t)
	}
	return withoutLast(ticks, days)
}

// withoutLast removes the text of a tick at the very end, where it would be outside the
// chart.
func withoutLast(ticks []tick, days int) []tick {
	if n := len(ticks); n > 0 && float64(ticks[n-1].day) > 0.95*float64(days) {
		ticks[n-1].text = ""
	}
	return ticks
}
