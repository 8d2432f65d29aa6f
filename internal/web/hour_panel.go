package web

import (
	"fmt"
	"html/template"
	"math"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/throughput"
)

// hourPanel shows the work of all processes in the hour before a snapshot.
type hourPanel struct {
	Throughput, Latency template.HTML // empty if no job was worked
	Scope               string
}

func newHourPanel(points []throughput.Point, from string) hourPanel {
	panel := hourPanel{Scope: "all processes"}
	var committed, failed int64
	for _, p := range points {
		committed, failed = committed+p.Committed, failed+p.Failed
	}
	if committed > 0 {
		panel.Scope += ", " + counted(committed, "job", "jobs")
	}
	if failed > 0 {
		panel.Scope += ", " + counted(failed, "failed attempt", "failed attempts")
	}
	if from != "" {
		panel.Scope += ", " + from
	}
	if committed > 0 || failed > 0 {
		panel.Throughput, panel.Latency = throughputPlot(points), latencyPlot(points)
	}
	return panel
}

// eachPoint returns a value of each point, and the greatest.
func eachPoint(points []throughput.Point, value func(throughput.Point) float64) (values []float64, highest float64) {
	for _, p := range points {
		v := value(p)
		values = append(values, v)
		if v > highest { // false for NaN, which max would return
			highest = v
		}
	}
	return values, highest
}

func throughputPlot(points []throughput.Point) template.HTML {
	rates, highest := eachPoint(points, func(p throughput.Point) float64 { return float64(p.Committed) / throughput.Step.Seconds() })
	top := axisTop(highest)
	label := fmt.Sprintf("Jobs committed per second over the last hour, at most %s", short(highest))
	chart := newChart(athleteChart{}, len(points), label, top, []mark{{0, "0"}, {top / 2, short(top / 2)}, {top, short(top)}})
	chart.stretched(func() {
		chart.area("series1-area", rates)
		chart.curve("series1", rates)
	})
	return chart.end(nil)
}

func latencyPlot(points []throughput.Point) template.HTML {
	worst, highest := eachPoint(points, func(p throughput.Point) float64 { return nanWhenIdle(p, p.P99) })
	half, _ := eachPoint(points, func(p throughput.Point) float64 { return nanWhenIdle(p, p.Median) })
	top := axisTop(max(highest, 0.001))
	text := func(s float64) string { return admin.HumanReadable(time.Duration(s * float64(time.Second))) }
	label := "Time from a job's insertion to its commit over the last hour, the median and the 99th percentile, at most " + text(highest)
	chart := newChart(athleteChart{}, len(points), label, top, []mark{{0, "0"}, {top / 2, text(top / 2)}, {top, text(top)}})
	chart.stretched(func() {
		chart.curve("series2", worst)
		chart.curve("series1", half)
	})
	return chart.end(nil)
}

func nanWhenIdle(p throughput.Point, d time.Duration) float64 {
	if p.Committed == 0 {
		return math.NaN()
	}
	return d.Seconds()
}
