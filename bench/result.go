package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// result is how a contestant performed.
type result struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"per_second"` // median
	Min       float64 `json:"min"`
	Max       float64 `json:"max"`
	Correct   bool    `json:"correct"` // every value was checked exactly
	Figures   figures `json:"figures,omitempty"`
}

// figures are results besides the rate.
type figures []figure

// figure has a name for the JSON and a format for the table.
type figure struct {
	name  string
	words string
	value float64
}

// MarshalJSON implements json.Marshaler: an object of the values.
func (f figures) MarshalJSON() ([]byte, error) {
	values := map[string]float64{}
	for _, each := range f {
		values[each.name] = each.value
	}
	return json.Marshal(values)
}

// String returns the figures as the table shows them.
func (f figures) String() string {
	var texts []string
	for _, each := range f {
		texts = append(texts, fmt.Sprintf(each.words, each.value))
	}
	return strings.Join(texts, ", ")
}

// report is what --json prints.
type report struct {
	Results []result `json:"results"`
	Machine string   `json:"machine"`
}

// newResult summarizes a contestant's rounds.
func newResult(name string, perSecond []float64, correct bool, beside ...figure) result {
	return result{Name: name, PerSecond: median(perSecond), Min: slices.Min(perSecond), Max: slices.Max(perSecond), Correct: correct, Figures: beside}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func writeTable(w io.Writer, results []result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "contestant\ta second\tlowest\thighest\tright\t")
	for _, r := range results {
		correct := "yes"
		if !r.Correct {
			correct = "NO"
		}
		_, _ = fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.0f\t%s\t\n", r.Name, r.PerSecond, r.Min, r.Max, correct)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if len(r.Figures) > 0 {
			_, _ = fmt.Fprintf(w, "%s: %s\n", r.Name, r.Figures)
		}
	}
	_, err := fmt.Fprintln(w, "machine:", describeMachine())
	return err
}

func describeMachine() string {
	what := fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return what // not Linux
	}
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return what + ", " + strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return what
}
