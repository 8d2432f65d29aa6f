package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/backfill"
)

// Headline answers in a few words whether the athletes' results are fresh. It describes
// all processes.
type Headline struct {
	Severity Severity `json:"severity"` // empty when all is well
	Word     string   `json:"word"`
	Says     string   `json:"says"`
}

// Headline returns the headline of a snapshot and its findings.
func (s Snapshot) Headline(findings []Finding) Headline {
	worst := Severity("")
	for _, f := range findings {
		if f.Severity == Critical || f.Severity == Warning && worst != Critical {
			worst = f.Severity
		}
	}
	says := []string{s.waitingSays(), s.pausedSays(), s.Writing.Says, s.Writing.Rows()}
	says = slices.DeleteFunc(says, func(part string) bool { return part == "" })
	h := Headline{worst, "Fresh", strings.Join(says, " ")}
	live, bulk := s.Freshness[0], s.Freshness[1]
	switch {
	case live.Age > lateLive.Seconds():
		h.Severity, h.Word = Critical, "Late"
	case worst == Critical:
		h.Word = "Trouble"
	case s.pausedSays() != "":
		h.Severity, h.Word = Warning, "Paused, and jobs wait"
	case s.Writing.Headline() != "":
		h.Severity, h.Word = Warning, s.Writing.Headline()
	case bulk.Age > lateBulk.Seconds():
		h.Severity, h.Word = Warning, "Imports are late"
	case worst == Warning:
		h.Word = "Fresh, with warnings"
	case bulk.Waiting > 0:
		h.Word = "Fresh, and imports go on"
	}
	return h
}

func (s Snapshot) waitingSays() string {
	live, bulk := s.Freshness[0], s.Freshness[1]
	waiting := func(what string, f Freshness) string {
		return fmt.Sprintf("%s not worked yet, the oldest %s old.", capital(strings.TrimSpace(f.About+" "+counted(int(f.Waiting), what+" job is", what+" jobs are"))), HumanReadable(time.Duration(f.Age*float64(time.Second))))
	}
	var all []string
	if live.Waiting > 0 {
		all = append(all, waiting("live", live))
	}
	if bulk.Waiting > 0 {
		all = append(all, waiting("import", bulk))
	}
	if len(all) == 0 {
		return "No job waits."
	}
	return strings.Join(all, " ")
}

// pausedSays describes the jobs of activities that wait in paused queues; empty for none.
func (s Snapshot) pausedSays() string {
	var names []string
	sum, vague := int64(0), ""
	for _, q := range s.Queues {
		if _, passed := lanes[q.Name]; !passed || q.PausedAt == nil {
			continue
		}
		if n, about := waitingIn(q); n > 0 {
			names, sum, vague = append(names, q.Name), sum+n, vaguer(vague, about)
		}
	}
	if sum == 0 {
		return ""
	}
	return fmt.Sprintf("%s in paused queues: %s.", capital(strings.TrimSpace(vague+" "+counted(int(sum), "job waits", "jobs wait"))), strings.Join(names, ", "))
}

// capital capitalizes the beginning of a sentence.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// computing reports whether results are still being computed, so that rows without
// results are expected.
func (s Snapshot) computing() bool {
	return slices.ContainsFunc(s.Freshness, func(f Freshness) bool { return f.Waiting > 0 }) ||
		slices.ContainsFunc(s.Backfills, func(b backfill.Backfill) bool { return b.State == backfill.Running })
}
