package web

import (
	"slices"
	"strconv"
	"strings"

	"github.com/trainingmonkey/worker/internal/athlete"
)

// shownDay has the texts of a day, for the line of values, the table and the script's data.
type shownDay struct {
	Date                                        string
	Load, Acute, Chronic, Ratio                 string
	Trimp, TrimpAcute, TrimpChronic, TrimpRatio string
	Marks                                       string // words, separated by commas
}

func show(d athlete.Day) shownDay {
	marks := d.Quality
	if d.Stale {
		marks = append([]string{"stale"}, marks...)
	}
	return shownDay{
		Date: d.Date,
		Load: fixed(d.LoadMiles, 2), Acute: fixed(float64(d.SevenDayAvgLoad), 2), Chronic: fixed(float64(d.TwentyEightDayAvgLoad), 2),
		Ratio: fixed(float64(d.AcuteChronicRatio), 2),
		Trimp: fixed(d.Trimp, 1), TrimpAcute: fixed(float64(d.SevenDayAvgTrimp), 1), TrimpChronic: fixed(float64(d.TwentyEightDayAvgTrimp), 1),
		TrimpRatio: fixed(float64(d.TrimpAcuteChronicRatio), 2),
		Marks:      strings.Join(marks, ","),
	}
}

func fixed(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// Data returns the values of every day, oldest first, in the format of the page's script:
// the nine texts of show in their order, separated by spaces, and days separated by
// semicolons.
func (c athleteChart) Data() string {
	var b strings.Builder
	for i, d := range c.days {
		if i > 0 {
			b.WriteByte(';')
		}
		s := show(d)
		b.WriteString(strings.Join([]string{s.Load, s.Acute, s.Chronic, s.Ratio, s.Trimp, s.TrimpAcute, s.TrimpChronic, s.TrimpRatio, s.Marks}, " "))
	}
	return b.String()
}

// MarksText returns the marks for display.
func (s shownDay) MarksText() string { return strings.ReplaceAll(s.Marks, ",", ", ") }

// Table returns a row per bar, newest first: the means of its days' loads, and
// the other values of its newest day.
func (c athleteChart) Table() (rows []shownDay) {
	for _, column := range slices.Backward(c.columns) {
		day := column.Newest
		day.LoadMiles, day.Trimp, day.Quality, day.Stale = column.Load, column.Trimp, column.Quality, column.Stale
		row := show(day)
		row.Date = column.dates()
		rows = append(rows, row)
	}
	return rows
}

// known formats a number with the given number of digits, nil as a dash.
func known(digits int, v *float64) string {
	if v == nil {
		return "–"
	}
	return fixed(*v, digits)
}
