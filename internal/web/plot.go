package web

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
)

// mark is a horizontal line with a text.
type mark struct {
	at   float64
	text string
}

const (
	plotWidth  = 1000.0
	plotHeight = 100.0
	headroom   = 1.06 // above the greatest value
	tickHeight = 4.0
)

func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// axisTop returns the smallest round number that is at least v and whose half is
// round as well.
func axisTop(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8} {
		if v <= digit*power {
			return digit * power
		}
	}
	return 10 * power
}

// bar is a partly filled horizontal bar.
func bar(label string, share float64) template.HTML {
	return template.HTML(fmt.Sprintf(
		`<svg class="bar" role="img" aria-label="%s"><rect class="track" width="100%%" height="100%%" rx="3"/><rect class="fill" width="%s%%" height="100%%" rx="3"/></svg>`,
		template.HTMLEscapeString(label), number(100*min(1, max(0, share)))))
}
