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
	stale := false
	for _, d := range days {
		mark := ""
		if d.Stale {
			mark = " *"
			stale = true
		}
		_, _ = fmt.Fprintf(table, "%s\t%.2f\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%s\n",
			d.Date, d.LoadMiles, number(d.SevenDayAvgLoad), number(d.TwentyEightDayAvgLoad), number(d.AcuteChronicRatio),
			d.Trimp, number(d.SevenDayAvgTrimp), number(d.TwentyEightDayAvgTrimp), number(d.TrimpAcuteChronicRatio),
			number(d.NormalizedDivergence), mark)
	}
	if err := table.Flush(); err != nil || !stale {
		return err
	}
	_, err := fmt.Fprintln(w, "* not stored yet, or stored otherwise: its recalculation is still to come")
	return err
}

func number(x float32) string {
	return strings.Replace(fmt.Sprintf("%.2f", x), "-0.00", "0.00", 1)
}

const (
	chartHeight   = 10
	narrowestPlot = 20
	axisWidth     = 8
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
	options := []asciigraph.Option{
		asciigraph.Height(chartHeight), asciigraph.Precision(2), asciigraph.LowerBound(0),
		asciigraph.Width(max(narrowestPlot, width-axisWidth)),
		asciigraph.Caption(fmt.Sprintf("ACWR, %s to %s", days[0].Date, days[len(days)-1].Date)),
	}
	_, err := fmt.Fprintln(w, asciigraph.Plot(ratios, options...))
	return err
}
