package athlete

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/guptarohit/asciigraph"
)

// WriteTable writes the days, newest last. If there are more than limit days it omits the
// oldest and says so; limit ≤ 0 writes all. why says why days are stale.
func WriteTable(w io.Writer, days []Day, limit int, why string) error {
	if left := len(days) - limit; limit > 0 && left > 0 {
		if _, err := fmt.Fprintf(w, "(%d earlier days not shown)\n", left); err != nil {
			return err
		}
		days = days[left:]
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "date\tload\t7 d\t28 d\tACWR\tTRIMP\t7 d\t28 d\tACWR\tdivergence\t")
	for _, d := range days {
		_, _ = fmt.Fprintf(table, "%s\t%.2f\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%s\n",
			d.Date, d.LoadMiles, number(d.SevenDayAvgLoad), number(d.TwentyEightDayAvgLoad), number(d.AcuteChronicRatio),
			d.Trimp, number(d.SevenDayAvgTrimp), number(d.TwentyEightDayAvgTrimp), number(d.TrimpAcuteChronicRatio),
			number(d.NormalizedDivergence), marks(d))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return writeMeanings(w, days, why)
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

// writeMeanings explains the marks that the days have.
func writeMeanings(w io.Writer, days []Day, why string) error {
	if StaleDays(days) > 0 {
		if _, err := fmt.Fprintf(w, "* not stored yet, or stored otherwise: %s\n", why); err != nil {
			return err
		}
	}
	for _, word := range QualityWords {
		if Marked(days, word.Word) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", word.Word, word.Meaning); err != nil {
			return err
		}
	}
	return nil
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

// WriteChart draws the external ratio over the days, fitted to a terminal of
// the given width. Fewer than two days draw nothing.
func WriteChart(w io.Writer, days []Day, width int) error {
	if len(days) < 2 {
		return nil
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
	_, err := fmt.Fprintln(w, asciigraph.Plot(ratios, options...))
	return err
}
