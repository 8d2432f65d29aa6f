package web

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/metrics"
	"github.com/trainingmonkey/worker/workers"
)

// verdict is the answer to whether the athletes' numbers are fresh.
type verdict struct {
	Class string // ok, warning or critical
	Word  string
	Says  string
}

// agedAfter is the age from which on what is shown of a snapshot says how old it
// is. A reader of a page takes what is younger for now.
const agedAfter = 10 * time.Second

// ageOf is how old a snapshot is, in words, where that matters.
func ageOf(age time.Duration, known, answers bool) string {
	if !known || answers && age < agedAfter {
		return ""
	}
	return admin.HumanReadable(age.Truncate(time.Second)) + " ago"
}

// answers tells whether the database answers this process.
func answers(reasons []Reason) bool {
	return !slices.ContainsFunc(reasons, func(r Reason) bool { return r.Check == databaseCheck })
}

// verdictOf speaks of all processes. What is wrong with this one alone is said of
// it, and only where nothing is wrong with all.
func verdictOf(s admin.Snapshot, age time.Duration, known bool, reasons []Reason) verdict {
	switch {
	case !known && !answers(reasons):
		return verdict{"critical", "Unknown", "The database does not answer this process and was not read yet."}
	case !known:
		return verdict{"warning", "Unknown", "The database was not read yet."}
	case !answers(reasons):
		return verdict{"critical", "Unknown", fmt.Sprintf("The database does not answer this process: whether activities wait is not known. It was last read %s.", ageOf(age, true, false))}
	case age > admin.Old:
		return verdict{"critical", "Unknown", fmt.Sprintf("The database was last read %s: whether activities wait is not known.", ageOf(age, true, false))}
	}
	h := s.Headline(s.Findings())
	if len(reasons) > 0 && h.Severity != admin.Critical {
		return verdict{"critical", "This process is not ready", "Of all processes together: " + h.Word + ". " + h.Says}
	}
	return verdict{cmp.Or(string(h.Severity), "ok"), h.Word, h.Says}
}

// aged says of findings from how long ago they are.
func aged(findings []admin.Finding, from string) []admin.Finding {
	if from == "" {
		return findings
	}
	old := slices.Clone(findings)
	for i := range old {
		old[i].What = from + ": " + old[i].What
	}
	return old
}

// processPanel is what this process knows of itself.
type processPanel struct {
	Throughput, Latency template.HTML // empty without points
	Jobs                int64         // within the hour
	InUse, Idle, Most   int32
	Pool                template.HTML
	Lanes               []workers.LaneStats
}

func (p *pages) process() processPanel {
	stat := p.options.Pool.Stat()
	panel := processPanel{
		InUse: stat.AcquiredConns(), Idle: stat.IdleConns(), Most: stat.MaxConns(),
		Pool:  bar(fmt.Sprintf("%d of %d connections in use", stat.AcquiredConns(), stat.MaxConns()), float64(stat.AcquiredConns())/float64(stat.MaxConns())),
		Lanes: p.options.Service.Lanes(),
	}
	points := p.options.History()
	for _, point := range points {
		panel.Jobs += int64(point.Jobs)
	}
	if len(points) >= 2 {
		panel.Throughput, panel.Latency = throughputPlot(points), latencyPlot(points)
	}
	return panel
}

// busyPool is the utilization from which on the pool is what the work waits for.
const busyPool = 0.9

func localFindings(p processPanel, reasons []Reason) (all []admin.Finding) {
	for _, r := range reasons {
		all = append(all, admin.Finding{Severity: admin.Critical, What: fmt.Sprintf("This process is not ready (%s): %s.", r.Check, r.Reason), Do: "Its log has the details."})
	}
	if float64(p.InUse) >= busyPool*float64(p.Most) {
		all = append(all, admin.Finding{
			Severity: admin.Warning, What: fmt.Sprintf("This process has %d of %d database connections in use.", p.InUse, p.Most),
			Do: "If it stays so, look for slow statements, or raise database.max_conns.",
		})
	}
	return all
}

func bySeverity(findings []admin.Finding) []admin.Finding {
	order := []admin.Severity{admin.Critical, admin.Warning, admin.Notice}
	slices.SortStableFunc(findings, func(a, b admin.Finding) int {
		return cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity))
	})
	return findings
}

// hour spreads points over the hour: the newest on the right, nothing where the
// process did not run yet.
func hour(points []metrics.Point, value func(metrics.Point) float64) (values []float64, most float64) {
	values = make([]float64, 60)
	for i := range values {
		values[i] = math.NaN()
		if j := i - (len(values) - len(points)); j >= 0 {
			values[i] = value(points[j])
			if values[i] > most { // never true of NaN, which max would keep
				most = values[i]
			}
		}
	}
	return values, most
}

func throughputPlot(points []metrics.Point) template.HTML {
	rates, most := hour(points, func(p metrics.Point) float64 { return float64(p.Jobs) / metrics.Step.Seconds() })
	top := roundUp(most)
	return plot{
		label: fmt.Sprintf("Jobs committed per second over the last hour, at most %s", short(most)),
		most:  top,
		marks: []mark{{0, "0"}, {top / 2, short(top / 2)}, {top, short(top)}},
		lines: []line{{"series1", rates, true}},
	}.svg()
}

func latencyPlot(points []metrics.Point) template.HTML {
	worst, most := hour(points, func(p metrics.Point) float64 { return nanWhenIdle(p, p.P99) })
	half, _ := hour(points, func(p metrics.Point) float64 { return nanWhenIdle(p, p.P50) })
	top := roundUp(max(most, 0.001))
	text := func(s float64) string { return admin.HumanReadable(time.Duration(s * float64(time.Second))) }
	return plot{
		label: "Time from a job's insertion to its commit over the last hour, the median and the 99th percentile, at most " + text(most),
		most:  top,
		marks: []mark{{0, "0"}, {top / 2, text(top / 2)}, {top, text(top)}},
		lines: []line{{"series2", worst, false}, {"series1", half, false}},
	}.svg()
}

func nanWhenIdle(p metrics.Point, d time.Duration) float64 {
	if p.Jobs == 0 {
		return math.NaN()
	}
	return d.Seconds()
}
