package web

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/athlete"
)

// ratioBand is a range of ratios, up to its end. The bands are the usual ones
// for training loads (Gabbett 2016).
type ratioBand struct {
	Class, Text string
	From, To    float64
}

var ratioBands = []ratioBand{
	{"band-low", "below 0.8", 0, 0.8},
	{"band-usual", "0.8 to 1.3", 0.8, 1.3},
	{"band-raised", "1.3 to 1.5", 1.3, 1.5},
	{"band-high", "above 1.5", 1.5, math.Inf(1)},
}

// bandFrom and bandTo are the limits of the usual band.
const bandFrom, bandTo = 0.8, 1.3

// findBand returns the band of a ratio as rounded for display; 1.3 belongs to the
// lower band.
func findBand(ratio float32) ratioBand {
	shown := math.Round(float64(ratio)*100) / 100
	switch {
	case shown < bandFrom:
		return ratioBands[0]
	case shown <= bandTo:
		return ratioBands[1]
	case shown <= 1.5:
		return ratioBands[2]
	}
	return ratioBands[3]
}

// maxDayBars is the max number of days with a bar each. maxBars is the max number of
// bars: more would be narrower than a line. maxPoints is roughly the max number of points
// of a curve.
const (
	maxDayBars = 400
	maxBars    = 800
	maxPoints  = 1600
)

// column is what one bar represents: a day, or several days in long ranges.
type column struct {
	first, last int // of the days
	Newest      athlete.Day
	Oldest      string  // YYYY-MM-DD
	Days        int     // more than one in long ranges
	Load, Trimp float64 // means per day
	Quality     []string
	Stale       bool
}

// columnDays returns how many days a column has in a chart of the given number of days:
// one, or a number of weeks.
func columnDays(days int) int {
	if days <= maxDayBars {
		return 1
	}
	return 7 * ((days + 7*maxBars - 1) / (7 * maxBars))
}

// newColumns groups days into columns. The newest column is complete; the oldest may
// have fewer days.
func newColumns(days []athlete.Day) (columns []column) {
	width := columnDays(len(days))
	first := 0
	for last := (len(days) - 1) % width; last < len(days); last += width {
		c := column{first: first, last: last, Newest: days[last], Oldest: days[first].Date, Days: last - first + 1}
		for _, d := range days[first : last+1] {
			c.Load += d.LoadMiles / float64(c.Days)
			c.Trimp += d.Trimp / float64(c.Days)
			c.Stale = c.Stale || d.Stale
			for _, word := range d.Quality {
				if !slices.Contains(c.Quality, word) {
					c.Quality = append(c.Quality, word)
				}
			}
		}
		columns = append(columns, c)
		first = last + 1
	}
	return columns
}

// athleteChart draws the days of an athlete. Every day has a slot of the same width; the
// stylesheet decides the width.
type athleteChart struct {
	user    string
	days    []athlete.Day
	columns []column
	ticks   []tick
}

func newAthleteChart(user string, days []athlete.Day) athleteChart {
	c := athleteChart{user: user, days: days, columns: newColumns(days)}
	first, err := time.Parse(time.DateOnly, days[0].Date)
	if err == nil { // a year beyond 9999 has no axis
		c.ticks = axisTicks(first, len(days))
	}
	return c
}

// measure describes a chart that load and TRIMP share.
type measure struct {
	name, class    string
	digits         int
	bar            func(column) float64
	acute, chronic func(athlete.Day) float32
}

var (
	loadMeasure = measure{
		"Load", "load", 2, func(c column) float64 { return c.Load },
		func(d athlete.Day) float32 { return d.SevenDayAvgLoad }, func(d athlete.Day) float32 { return d.TwentyEightDayAvgLoad },
	}
	trimpMeasure = measure{
		"TRIMP", "trimp", 1, func(c column) float64 { return c.Trimp },
		func(d athlete.Day) float32 { return d.SevenDayAvgTrimp }, func(d athlete.Day) float32 { return d.TwentyEightDayAvgTrimp },
	}
)

// Load draws the loads as bars, with their acute and chronic means as curves.
func (c athleteChart) Load() template.HTML { return c.means(loadMeasure) }

// Trimp is Load for TRIMP.
func (c athleteChart) Trimp() template.HTML { return c.means(trimpMeasure) }

func (c athleteChart) means(m measure) template.HTML {
	acute, chronic := c.values(m.acute), c.values(m.chronic)
	highest := max(slices.Max(acute), slices.Max(chronic))
	for _, column := range c.columns {
		highest = max(highest, m.bar(column))
	}
	top := axisTop(highest)
	last := c.days[len(c.days)-1]
	label := fmt.Sprintf("%s of a day of athlete %s from %s to %s, at most %.*f; on the last day the mean of 7 days is %.*f and the chronic mean %.*f",
		m.name, c.user, c.days[0].Date, last.Date, m.digits, highest, m.digits, m.acute(last), m.digits, m.chronic(last))
	s := newChart(c, len(c.days), label, top, []mark{{0, "0"}, {top / 2, number(top / 2)}, {top, number(top)}})
	s.stretched(func() {
		s.bars(m.class+"-bar", c.columns, m.bar)
		s.curve("chronic", chronic)
		s.curve(m.class+"-acute", acute)
	})
	return s.end(func(column column) string {
		return fmt.Sprintf("%s: %s %.*f, 7 d %.*f, chronic %.*f", column.dates(), m.name, m.digits, m.bar(column), m.digits, m.acute(column.Newest), m.digits, m.chronic(column.Newest))
	})
}

// topRatio is the top of the axis. The ratios of an athlete's first weeks can be so
// high that the others would be indistinguishable.
const topRatio = 3

// Ratio draws the two ratios over their bands.
func (c athleteChart) Ratio() template.HTML {
	external := c.values(func(d athlete.Day) float32 { return d.AcuteChronicRatio })
	internal := c.values(func(d athlete.Day) float32 { return d.TrimpAcuteChronicRatio })
	highest := max(slices.Max(external), slices.Max(internal))
	top := min(topRatio, max(2, math.Ceil(highest*2)/2))
	last := c.days[len(c.days)-1]
	label := fmt.Sprintf("ACWR of athlete %s from %s to %s, last %.2f by load and %.2f by TRIMP, at most %.2f and %.2f",
		c.user, c.days[0].Date, last.Date, last.AcuteChronicRatio, last.TrimpAcuteChronicRatio, slices.Max(external), slices.Max(internal))
	marks := []mark{{0, "0"}, {bandFrom, "0.8"}, {bandTo, "1.3"}, {1.5, "1.5"}, {2, "2"}}
	if top > 2 {
		marks = append(marks, mark{top, number(top)})
	}
	s := newChart(c, len(c.days), label, top, marks, ratioBands...)
	s.stretched(func() {
		s.curve("series2", internal)
		s.curve("series1", external)
	})
	return s.end(func(column column) string {
		title := fmt.Sprintf("%s: ACWR %.2f by load, %.2f by TRIMP", column.dates(), column.Newest.AcuteChronicRatio, column.Newest.TrimpAcuteChronicRatio)
		if len(column.Quality) > 0 {
			title += " (" + strings.Join(column.Quality, ", ") + ")"
		}
		return title
	})
}

// Beyond reports whether ratios exceed the axis.
func (c athleteChart) Beyond() bool {
	return slices.ContainsFunc(c.days, func(d athlete.Day) bool { return max(d.AcuteChronicRatio, d.TrimpAcuteChronicRatio) > topRatio })
}

// PerBar describes what a bar represents; empty for a day.
func (c athleteChart) PerBar() string {
	switch width := columnDays(len(c.days)); width {
	case 1:
		return ""
	case 7:
		return "a bar is the mean of a week"
	default:
		return fmt.Sprintf("a bar is the mean of %d weeks", width/7)
	}
}

func (c column) dates() string {
	if c.Days == 1 {
		return c.Oldest
	}
	return c.Oldest + " to " + c.Newest.Date
}

func (c athleteChart) values(of func(athlete.Day) float32) []float64 {
	values := make([]float64, len(c.days))
	for i, d := range c.days {
		values[i] = float64(of(d))
	}
	return values
}

// marked is a run of columns with the same quality.
type marked struct {
	word, title string
	first, last int // of the days
}

// marked returns the runs of columns by word.
func (c athleteChart) marked() (runs []marked) {
	for _, w := range athlete.QualityWords {
		for i := 0; i < len(c.columns); i++ {
			from := i
			for i < len(c.columns) && slices.Contains(c.columns[i].Quality, w.Word) {
				i++
			}
			if i > from {
				oldest, newest := c.columns[from], c.columns[i-1]
				title := fmt.Sprintf("%s, %s to %s: %s", w.Word, oldest.Oldest, newest.Newest.Date, w.Meaning)
				runs = append(runs, marked{w.Word, title, oldest.first, newest.last})
			}
		}
	}
	return runs
}

// qualityNote explains a quality that occurs in the chart.
type qualityNote struct {
	Word, Meaning string
	Days          int
}

func qualityNotes(days []athlete.Day) (notes []qualityNote) {
	for _, w := range athlete.QualityWords {
		if n := athlete.Marked(days, w.Word); n > 0 {
			notes = append(notes, qualityNote{w.Word, w.Meaning, n})
		}
	}
	return notes
}
