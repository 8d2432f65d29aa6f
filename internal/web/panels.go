package web

import (
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/workers"
)

// agedAfter is the age from which a snapshot is shown with its age.
const agedAfter = 10 * time.Second

// ageText returns the age of a snapshot in words, if it is old enough to matter.
func ageText(age time.Duration, known, answers bool) string {
	if !known || answers && age < agedAfter {
		return ""
	}
	return admin.HumanReadable(age.Truncate(time.Second)) + " ago"
}

// answers reports whether the database answers this process.
func answers(reasons []Reason) bool {
	return !slices.ContainsFunc(reasons, func(r Reason) bool { return r.Check == databaseCheck })
}

// newHeadline describes all processes. A problem of this process only is shown unless
// theirs is critical.
func newHeadline(s admin.Snapshot, age time.Duration, known bool, reasons []Reason) admin.Headline {
	switch {
	case !known && !answers(reasons):
		return admin.Headline{Severity: admin.Critical, Word: "Unknown", Says: "The database does not answer this process and was not read yet."}
	case !known:
		return admin.Headline{Severity: admin.Warning, Word: "Unknown", Says: "The database was not read yet."}
	case !answers(reasons):
		return admin.Headline{Severity: admin.Critical, Word: "Unknown", Says: fmt.Sprintf("The database does not answer this process: whether activities wait is not known. It was last read %s.", ageText(age, true, false))}
	case age > admin.Old:
		return admin.Headline{Severity: admin.Critical, Word: "Unknown", Says: fmt.Sprintf("The database was last read %s: whether activities wait is not known.", ageText(age, true, false))}
	}
	h := s.Headline(s.Findings())
	if len(reasons) > 0 && h.Severity != admin.Critical {
		return admin.Headline{Severity: admin.Critical, Word: "This process is not ready", Says: "Of all processes together: " + h.Word + ". " + h.Says}
	}
	return h
}

// aged returns the findings with the age of their snapshot.
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

// processPanel shows this process's own state.
type processPanel struct {
	InUse, Idle, Max int32
	Pool             template.HTML
	Lanes            []workers.LaneStats
}

func (p *pages) process() processPanel {
	stat := p.options.Pool.Stat()
	return processPanel{
		InUse: stat.AcquiredConns(), Idle: stat.IdleConns(), Max: stat.MaxConns(),
		Pool:  bar(fmt.Sprintf("%d of %d connections in use", stat.AcquiredConns(), stat.MaxConns()), float64(stat.AcquiredConns())/float64(stat.MaxConns())),
		Lanes: p.options.Service.Lanes(),
	}
}

// busyPool is the utilization from which on the pool is reported as the bottleneck.
const busyPool = 0.9

func localFindings(p processPanel, reasons []Reason) (all []admin.Finding) {
	for _, r := range reasons {
		all = append(all, admin.Finding{Severity: admin.Critical, What: fmt.Sprintf("This process is not ready (%s): %s.", r.Check, r.Reason), Do: "Its log has the details."})
	}
	if float64(p.InUse) >= busyPool*float64(p.Max) {
		all = append(all, admin.Finding{
			Severity: admin.Warning, What: fmt.Sprintf("This process has %d of %d database connections in use.", p.InUse, p.Max),
			Do: "If it stays so, find slow statements, or raise database.max_conns.",
		})
	}
	return all
}
