package athlete

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/guptarohit/asciigraph"
)

// Table returns the days as text, newest last. If there are more than limit days it omits
// the oldest and says so; limit ≤ 0 shows all. why says why days are stale.
func Table(days []Day, limit int, why string) string {
	var text strings.Builder
	if left := len(days) - limit; limit > 0 && left > 0 {
		fmt.Fprintf(&text, "(earlier days not shown: %d)\n", left)
		days = days[left:]
	}
	rows := []string{"date\tload\t7 d\t28 d\tACWR\tTRIMP\t7 d\t28 d\tACWR\tdivergence\t"}
	for _, d := range days {
		rows = append(rows, fmt.Sprintf("%s\t%.2f\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%s",
			d.Date, d.LoadMiles, number(d.SevenDayAvgLoad), number(d.TwentyEightDayAvgLoad), number(d.AcuteChronicRatio),
			d.Trimp, number(d.SevenDayAvgTrimp), number(d.TwentyEightDayAvgTrimp), number(d.TrimpAcuteChronicRatio),
			number(d.NormalizedDivergence), marks(d)))
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = table.Write([]byte(strings.Join(rows, "\n") + "\n")) // to memory, which never fails
	_ = table.Flush()
	if StaleDays(days) > 0 {
		fmt.Fprintf(&text, "* not stored yet, or stored otherwise: %s\n", why)
	}
	for _, word := range QualityWords {
		if Marked(days, word.Word) > 0 {
			fmt.Fprintf(&text, "%s: %s\n", word.Word, word.Meaning)
		}
	}
	return text.String()
}

// marks returns the marks of a day's quality, which follow its last column.
func marks(d Day) (s string) {
	if d.Stale {
		s = " *"
	}
	for _, word := range d.Quality {
		s += " " + word
	}
	return s
}

// StaleDays counts the days that are stale.
func StaleDays(days []Day) (n int) {
	for _, d := range days {
		if d.Stale {
			n++
		}
	}
	return n
}

// Marked counts the days that have the word.
func Marked(days []Day, word string) (n int) {
	for _, d := range days {
		if slices.Contains(d.Quality, word) {
			n++
		}
	}
	return n
}

func number(x float32) string {
	return strings.Replace(fmt.Sprintf("%.2f", x), "-0.00", "0.00", 1)
}

const (
	chartHeight  = 10
	minPlotWidth = 20
	axisWidth    = 8
)

// Chart draws the external ratio over the days, at most width columns wide. For
// fewer than two days it is empty.
func Chart(days []Day, width int) string {
	if len(days) < 2 {
		return ""
	}
	ratios := make([]float64, len(days))
	for i, d := range days {
		ratios[i] = float64(d.AcuteChronicRatio)
	}
	caption := fmt.Sprintf("ACWR, %s to %s", days[0].Date, days[len(days)-1].Date)
	for _, word := range QualityWords {
		if n := Marked(days, word.Word); n > 0 {
			caption += fmt.Sprintf("; %s: %d d", word.Word, n)
		}
	}
	options := []asciigraph.Option{
		asciigraph.Height(chartHeight), asciigraph.Precision(2), asciigraph.LowerBound(0),
		asciigraph.Width(max(minPlotWidth, width-axisWidth)),
		asciigraph.Caption(caption),
	}
	return asciigraph.Plot(ratios, options...) + "\n"
}
