package web

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// plot is a line chart as SVG. It stretches to whatever width there is, while
// its text and lines do not: the curves are in a nested picture that is
// stretched, everything else is placed by percentages.
type plot struct {
	label   string // for screen readers
	highest float64
	marks   []mark
	lines   []line
}

// mark is a horizontal line with a text.
type mark struct {
	at   float64
	text string
}

// line is a curve of values at equal distances; NaN leaves a gap.
type line struct {
	class  string
	values []float64
	filled bool // down to 0
}

const (
	plotWidth  = 1000.0
	plotHeight = 100.0
	headroom   = 1.06 // above the greatest value
	tickHeight = 4.0
)

// svg draws the plot. Only numbers and class names are written unescaped. The stylesheet
// leaves room on the left, for the marks' texts.
func (p plot) svg() template.HTML {
	var b strings.Builder
	y := func(v float64) float64 { return plotHeight * (1 - min(1, max(0, v/(p.highest*headroom)))) }
	fmt.Fprintf(&b, `<svg class="plot" role="img" aria-label="%s">`, template.HTMLEscapeString(p.label))
	for _, m := range p.marks {
		fmt.Fprintf(&b, `<line class="grid" x1="0" x2="100%%" y1="%s%%" y2="%[1]s%%"/>`, number(y(m.at)))
	}
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" preserveAspectRatio="none" width="100%%" height="100%%">`, plotWidth, plotHeight)
	for _, l := range p.lines {
		l.draw(&b, y)
	}
	b.WriteString(`</svg>`)
	for _, m := range p.marks {
		fmt.Fprintf(&b, `<text x="-8" y="%s%%" dy="0.32em" text-anchor="end">%s</text>`, number(y(m.at)), template.HTMLEscapeString(m.text))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func (l line) draw(b *strings.Builder, y func(float64) float64) {
	step := plotWidth / float64(max(1, len(l.values)-1))
	for start := 0; start < len(l.values); {
		if math.IsNaN(l.values[start]) {
			start++
			continue
		}
		end := start
		var points []string
		for ; end < len(l.values) && !math.IsNaN(l.values[end]); end++ {
			points = append(points, number(float64(end)*step)+","+number(y(l.values[end])))
		}
		path := "M" + strings.Join(points, " L")
		if len(points) == 1 {
			path += " l0.01,0" // a dot
		}
		if l.filled {
			fmt.Fprintf(b, `<path class="%s-area" d="%s L%s,100 L%s,100 Z"/>`, l.class, path, number(float64(end-1)*step), number(float64(start)*step))
		}
		fmt.Fprintf(b, `<path class="%s" d="%s"/>`, l.class, path)
		start = end
	}
}

func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// roundUp returns a round number that is at least v, for the top of an axis.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{1, 1.5, 2, 3, 5, 7.5} {
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
