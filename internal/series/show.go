package series

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/guptarohit/asciigraph"
)

// WriteTable writes the days, newest last. Of more than most days it leaves out
// the oldest and says so; most ≤ 0 writes all.
func WriteTable(w io.Writer, days []Day, most int) error {
	if left := len(days) - most; most > 0 && left > 0 {
		if _, err := fmt.Fprintf(w, "(%d earlier days not shown)\n", left); err != nil {
			return err
		}
		days = days[left:]
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "date\tload\t7 d\t28 d\tACWR\tTRIMP\t7 d\t28 d\tACWR\tdivergence\t")
	for _, d := range days {
		_, _ = fmt.Fprintf(table, "%s\t%.2f\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t\n",
			d.Date, d.LoadMiles, number(d.SevenDayAvgLoad), number(d.TwentyEightDayAvgLoad), number(d.AcuteChronicRatio),
			d.Trimp, number(d.SevenDayAvgTrimp), number(d.TwentyEightDayAvgTrimp), number(d.TrimpAcuteChronicRatio),
			number(d.NormalizedDivergence))
	}
	return table.Flush()
}

// number shows a result, or that there is none yet.
func number(x *float32) string {
	if x == nil {
		return "-"
	}
	return strings.Replace(fmt.Sprintf("%.2f", *x), "-0.00", "0.00", 1)
}

const (
	chartHeight   = 10
	narrowestPlot = 20
	axisWidth     = 8
)

// WriteChart draws the external ratio over the days, fitted to a terminal of
// the given width. Fewer than two computed days draw nothing.
func WriteChart(w io.Writer, days []Day, width int) error {
	var ratios []float64
	for _, d := range days {
		if d.AcuteChronicRatio != nil {
			ratios = append(ratios, float64(*d.AcuteChronicRatio))
		}
	}
	if len(ratios) < 2 {
		return nil
	}
	options := []asciigraph.Option{
		asciigraph.Height(chartHeight), asciigraph.Precision(2), asciigraph.LowerBound(0),
		asciigraph.Width(max(narrowestPlot, width-axisWidth)),
		asciigraph.Caption(fmt.Sprintf("ACWR on days with an activity, %s to %s", days[0].Date, days[len(days)-1].Date)),
	}
	_, err := fmt.Fprintln(w, asciigraph.Plot(ratios, options...))
	return err
}
