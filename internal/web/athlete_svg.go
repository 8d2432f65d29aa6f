package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/trainingmonkey/worker/internal/athlete"
)

// chartSVG draws a chart of an athlete, or of any values with slots of the same
// width. The chart stretches to the available width, its text and lines do not: bars
// and curves are in a nested picture that is stretched, everything else is placed by
// percentages. Only numbers and class names are written unescaped.
type chartSVG struct {
	b       strings.Builder
	chart   athleteChart // the zero value if it is not an athlete's
	slots   int
	marks   []mark
	highest float64
}

// newChart returns a chart with its background drawn.
func newChart(c athleteChart, slots int, label string, top float64, marks []mark, bands ...ratioBand) *chartSVG {
	s := &chartSVG{chart: c, slots: slots, marks: marks, highest: top * headroom}
	fmt.Fprintf(&s.b, `<svg class="plot" role="img" aria-label="%s">`, template.HTMLEscapeString(label))
	for _, b := range bands {
		to := min(b.To, s.highest)
		fmt.Fprintf(&s.b, `<rect class="%s" x="0" width="100%%" y="%s%%" height="%s%%"/>`, b.Class, number(s.y(to)), number(s.y(b.From)-s.y(to)))
	}
	if len(bands) > 0 {
		for _, run := range c.marked() {
			s.marked(run)
		}
	}
	for _, m := range marks {
		fmt.Fprintf(&s.b, `<line class="grid" x1="0" x2="100%%" y1="%s%%" y2="%[1]s%%"/>`, number(s.y(m.at)))
	}
	for _, t := range c.ticks {
		fmt.Fprintf(&s.b, `<line class="month" x1="%s%%" x2="%[1]s%%" y1="0" y2="100%%"/>`, number(100*s.slot(t.day)))
	}
	return s
}

// y returns the position of a value, in hundredths of the height; values beyond the axis
// are at the top.
func (s *chartSVG) y(v float64) float64 { return plotHeight * (1 - min(1, max(0, v/s.highest))) }

// slot returns where a day's slot begins, as a fraction of the width.
func (s *chartSVG) slot(day int) float64 { return float64(day) / float64(s.slots) }

// marked draws the quality of days as a tick at the bottom, and the quality of their
// windows over the whole height.
func (s *chartSVG) marked(run marked) {
	height := tickHeight
	if run.word == athlete.ShortHistory {
		height = plotHeight
	}
	left, right := 100*s.slot(run.first), 100*s.slot(run.last+1)
	fmt.Fprintf(&s.b, `<rect class="%s" x="%s%%" width="%s%%" y="%s%%" height="%s%%"><title>%s</title></rect>`,
		run.word, number(left), number(right-left), number(plotHeight-height), number(height), template.HTMLEscapeString(run.title))
}

// stretched draws bars and curves, in a picture that fills the width.
func (s *chartSVG) stretched(draw func()) {
	fmt.Fprintf(&s.b, `<svg viewBox="0 0 %g %g" preserveAspectRatio="none" width="100%%" height="100%%">`, plotWidth, plotHeight)
	draw()
	s.b.WriteString(`</svg>`)
}

// bars draws all bars as one path.
func (s *chartSVG) bars(class string, columns []column, value func(column) float64) {
	gap := 0.0
	if len(columns) <= maxDayBars/2 {
		gap = 0.1 * plotWidth / float64(len(columns))
	}
	fmt.Fprintf(&s.b, `<path class="%s" d="`, class)
	for _, c := range columns {
		if v := value(c); v > 0 {
			fmt.Fprintf(&s.b, "M%s,100V%sH%sV100Z", number(plotWidth*s.slot(c.first)+gap), number(s.y(v)), number(plotWidth*s.slot(c.last+1)-gap))
		}
	}
	s.b.WriteString(`"/>`)
}

// curve draws values in the middle of their slots; NaN is a gap.
func (s *chartSVG) curve(class string, values []float64) {
	fmt.Fprintf(&s.b, `<path class="%s" d="`, class)
	begins := true
	for _, day := range thinned(values, maxPoints) {
		if math.IsNaN(values[day]) {
			begins = true
			continue
		}
		at := s.point(day, values[day])
		switch {
		case !begins:
			s.b.WriteString("L" + at)
		case day+1 == len(values) || math.IsNaN(values[day+1]):
			s.b.WriteString("M" + at + "l0.01,0") // a dot
		default:
			s.b.WriteString("M" + at)
		}
		begins = false
	}
	s.b.WriteString(`"/>`)
}

// area fills the area below values.
func (s *chartSVG) area(class string, values []float64) {
	fmt.Fprintf(&s.b, `<path class="%s" d="M%s`, class, s.point(0, 0))
	for slot, v := range values {
		s.b.WriteString("L" + s.point(slot, v))
	}
	fmt.Fprintf(&s.b, `L%sZ"/>`, s.point(len(values)-1, 0))
}

func (s *chartSVG) point(slot int, v float64) string {
	return number(plotWidth*(s.slot(slot)+s.slot(slot+1))/2) + "," + number(s.y(v))
}

// thinned returns the indexes of the values to draw: of values that share a pixel, the
// smallest and the greatest, and always the last value.
func thinned(values []float64, highest int) (drawn []int) {
	part := max(1, int(math.Ceil(2*float64(len(values))/float64(highest))))
	if len(values) <= highest {
		part = 1
	}
	for from := 0; from < len(values); from += part {
		low, high := from, from
		for i := from; i < min(from+part, len(values)); i++ {
			if values[i] < values[low] {
				low = i
			}
			if values[i] > values[high] {
				high = i
			}
		}
		drawn = append(drawn, min(low, high))
		if low != high {
			drawn = append(drawn, max(low, high))
		}
	}
	if last := len(values) - 1; drawn[len(drawn)-1] != last {
		drawn = append(drawn, last)
	}
	return drawn
}

// end draws the texts, and on top a title for each column, which is the tooltip without
// scripts.
func (s *chartSVG) end(title func(column) string) template.HTML {
	for _, m := range s.marks {
		fmt.Fprintf(&s.b, `<text x="-8" y="%s%%" dy="0.32em" text-anchor="end">%s</text>`, number(s.y(m.at)), template.HTMLEscapeString(m.text))
	}
	for _, t := range s.chart.ticks {
		class := "tick"
		if t.minor {
			class = "tick minor"
		}
		if t.text != "" {
			fmt.Fprintf(&s.b, `<text class="%s" x="%s%%" y="100%%" dx="3" dy="1.35em">%s</text>`, class, number(100*s.slot(t.day)), template.HTMLEscapeString(t.text))
		}
	}
	s.b.WriteString(`<g class="days">`)
	for _, c := range s.chart.columns {
		fmt.Fprintf(&s.b, `<rect x="%s%%" width="%s%%" height="100%%"><title>%s</title></rect>`,
			number(100*s.slot(c.first)), number(100*(s.slot(c.last+1)-s.slot(c.first))), template.HTMLEscapeString(title(c)))
	}
	s.b.WriteString(`</g></svg>`)
	return template.HTML(s.b.String())
}
