package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// Severity is how much a finding matters.
type Severity string

// Severities, worst first.
const (
	Critical Severity = "critical" // athletes see old results
	Warning  Severity = "warning"  // an operator has to act
	Notice   Severity = "notice"   // good to know
)

// rank is lower for a worse severity.
func (s Severity) rank() int { return slices.Index([]Severity{Critical, Warning, Notice}, s) }

// Finding is something that an operator should know, and what to do about it.
type Finding struct {
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Do       string   `json:"do"`
	Remedy   Remedy   `json:"-"` // the command in Do, for pages that have a button for it
}

// Remedy is a command that resolves the finding; the zero value is none.
type Remedy struct {
	Name  string // resume, retry_jobs or retry_rejects
	Queue string // to resume
	State string // of the jobs to retry
}

// What counts as late. The alert rules have the same limits.
const (
	lateLive = time.Minute
	lateBulk = time.Hour
)

// Findings describes what is wrong, worst first.
func (s Snapshot) Findings() (all []Finding) {
	add := func(severity Severity, do, what string, args ...any) {
		all = append(all, Finding{Severity: severity, What: fmt.Sprintf(what, args...), Do: do})
	}
	remedy := func(r Remedy) { all[len(all)-1].Remedy = r }
	alive := s.Alive()
	if alive == 0 {
		add(Critical, "Start one: worker run.", "No worker is alive.")
	}
	if s.JobIDs.WentBack() {
		add(Critical, "As the owner of the tables: worker migrate up. The ids go on beyond, and waiting jobs get new ones.",
			"The ids of jobs went back: job %d stored an activity, and the newest id is %d. Newer versions of activities would pass for older ones, so the lanes that meet them stand still.", s.JobIDs.Beyond, s.JobIDs.Last)
	}
	if s.Writing.Headline() != "" && alive > 0 {
		add(Warning, "To have them written: acwr.write: on and acwr.rollout_percent: 100 for every worker, then enqueue backfill.", "%s", strings.TrimSpace(s.Writing.Says+" "+s.Writing.Rows()))
	} else if rows := s.Writing.Rows(); rows != "" && !s.computing() {
		add(Notice, "Have them computed: enqueue backfill.", "%s", rows)
	}
	for _, f := range s.Freshness {
		late := time.Duration(f.Age * float64(time.Second)).Round(time.Second)
		switch {
		case f.Lane == "live" && late > lateLive:
			add(Critical, "Check below for a paused queue, dead workers or failing jobs; otherwise start more workers.",
				"Athletes wait: the oldest activity that is not worked yet is %s old.", HumanReadable(late))
		case f.Lane == "bulk" && late > lateBulk:
			add(Warning, "Imports give way to live jobs. Start more workers if they have to be faster.", "The oldest import waits for %s.", HumanReadable(late))
		}
	}
	for _, q := range s.Queues {
		if q.PausedAt != nil {
			held := ""
			if n, about := waitingIn(q); n > 0 {
				held = ", and " + strings.TrimSpace(about+" "+counted(int(n), "job waits", "jobs wait")) + " in it"
			}
			add(Warning, fmt.Sprintf("Once the reason is gone: enqueue queues resume %s.", q.Name), "Queue %s is paused since %s%s.", q.Name, q.PausedAt.UTC().Format("2 Jan 15:04 UTC"), held)
			remedy(Remedy{Name: "resume", Queue: q.Name})
		}
	}
	if recent := s.endedWithinADay(s.Discarded); recent != "" {
		add(Warning, "Cure what their errors say, then: enqueue jobs retry --state discarded.", "%s discarded within a day, after the last attempt.", recent)
		remedy(Remedy{Name: "retry_jobs", State: "discarded"})
	}
	if recent := s.endedWithinADay(s.Cancelled); recent != "" {
		add(Warning, "See by whom or why: enqueue jobs list --state cancelled. To have them worked: enqueue jobs retry --state cancelled.", "%s cancelled within a day, and not worked.", recent)
		remedy(Remedy{Name: "retry_jobs", State: "cancelled"})
	}
	for _, b := range s.Backfills {
		if b.FailedChunks > 0 && b.State != "cancelled" {
			add(Warning, fmt.Sprintf("See why: enqueue backfill status %d.", b.ID), "Backfill %d: %s of %d failed.", b.ID, counted(int(b.FailedChunks), "chunk", "chunks"), b.Chunks.Total)
		}
	}
	for _, h := range s.Vacuum.Holders {
		add(Warning, "If it is not needed: "+h.Cure+".", "Vacuum is held back by %s: claims become slow.", h)
	}
	for _, n := range s.Upkeep.Neglected() {
		add(Warning, n.Cure+".", "%s%s: %s.", strings.ToUpper(n.Check[:1]), n.Check[1:]+" "+n.What, n.Why)
	}
	switch c := s.Connections; {
	case s.WorkerConnections == 0:
	case c.Free <= c.Total/usedUp:
		add(Warning, "End sessions that nobody needs (pg_stat_activity), lower database.max_conns, or raise max_connections of the server, or CONNECTION LIMIT of role or database.",
			"Connections are nearly used up: %d of %d are free. New ones are refused then, to the application, too, unless it has another limit.", c.Free, c.Total)
	case c.Free < s.WorkerConnections:
		add(Warning, "Lower database.max_conns, or raise max_connections of the server, or CONNECTION LIMIT of role or database.",
			"%d of %d connections are free, and a worker takes up to %d: one more, as in a rolling deploy, may get none.", c.Free, c.Total, s.WorkerConnections)
	}
	if off := time.Duration(s.ClockOff * float64(time.Second)); off > MaxClockDifference {
		add(Warning, "Synchronize both, with chrony for instance.", "The clocks of this machine and of the database differ by %s: logs are as wrong; workers go by the database's clock.", HumanReadable(off))
	}
	if s.Vacuum.HiddenFrom != "" {
		add(Notice, "As a superuser: "+s.Vacuum.GrantStats()+".", "For how long other roles' transactions hold back vacuum is hidden from this role: they show only after %d transactions of the server.", HeldBackBy)
	}
	if n := s.Rejects.LastDay; n > 0 {
		add(Notice, "See why: enqueue rejects list. After a fix: enqueue rejects retry --all.", "%s rejected within a day as invalid.", counted(int(n), "activity was", "activities were"))
		remedy(Remedy{Name: "retry_rejects"})
	}
	if n := s.Tokens.NeedsReauthorization; n > 0 {
		add(Notice, "Only the athlete can do that, in the application.", "%s to connect again.", counted(int(n), "athlete has", "athletes have"))
	}
	SortFindings(all)
	return all
}

// SortFindings sorts findings, worst first.
func SortFindings(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
}

// endedWithinADay describes how many jobs of a list, which has the most recent
// ones, ended within a day; empty for none.
func (s Snapshot) endedWithinADay(jobs []queue.EndedJob) string {
	recent := 0
	for _, job := range jobs {
		if s.TakenAt.Sub(job.FinalizedAt) < 24*time.Hour {
			recent++
		}
	}
	switch recent {
	case 0:
		return ""
	case recentRows:
		return fmt.Sprintf("At least %d jobs were", recent)
	}
	return counted(recent, "job was", "jobs were")
}

// counted returns a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// HumanReadable formats a duration in one or two units.
func HumanReadable(d time.Duration) string {
	switch {
	case d < time.Millisecond && d > 0:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}
