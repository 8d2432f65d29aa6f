package web

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/queue"
)

// statusPage is the data of status.html.
type statusPage struct {
	page
	Done string // what a button has just done
	statusParts
}

// statusParts is the data of parts.html, the part of the status page that changes.
type statusParts struct {
	Headline      admin.Headline
	Findings      []admin.Finding
	Snapshot      admin.Snapshot
	Known         bool   // there is a snapshot
	From          string // how long ago it was taken, if it is old
	Queues        []queue.Counts
	Empty         string // names of queues without jobs that are not paused
	Failed        []failedJobs
	RejectReasons reasonsTable
	Hour          hourPanel
	Process       processPanel
	Buttons       bool
}

func (p *pages) status(w http.ResponseWriter, r *http.Request) {
	p.render(w, r, http.StatusOK, "status.html", statusPage{
		page: p.page("Status", r), Done: p.done.says(r.URL.Query()), statusParts: p.parts(),
	})
}

// renderParts renders the content that is sent to open pages.
func (p *pages) renderParts() ([]byte, error) {
	var b bytes.Buffer
	err := templates.ExecuteTemplate(&b, "parts", p.parts())
	return b.Bytes(), err
}

// parts returns the data of parts.html. It never queries the database.
func (p *pages) parts() statusParts {
	s, age, known := p.options.Watch.Latest()
	process := p.process()
	reasons := p.options.Readiness.Reasons()
	from := ageText(age, known, answers(reasons))
	findings := localFindings(process, reasons)
	parts := statusParts{Headline: newHeadline(s, age, known, reasons), Snapshot: s, Known: known, From: from, Process: process, Buttons: p.buttons()}
	if known {
		findings = append(findings, aged(s.Findings(), from)...)
		parts.Queues, parts.Empty = fullAndEmpty(s.Queues)
		parts.Failed = p.failed(s, from)
		parts.Hour = newHourPanel(s.LastHour, from)
		parts.RejectReasons = reasonsTable{
			ID: "rejects", What: "Activities", Reasons: s.Reasons.Rejected, Now: s.TakenAt, Buttons: parts.Buttons, Changes: []string{"retry_rejects", "drop_rejects"},
		}
	}
	admin.SortFindings(findings)
	parts.Findings = findings
	return parts
}

// fullAndEmpty separates the queues that have jobs or are paused from the others.
func fullAndEmpty(queues []queue.Counts) (full []queue.Counts, empty string) {
	var names []string
	for _, q := range queues {
		var jobs int64
		for _, state := range q.States {
			jobs += state.Jobs
		}
		if jobs > 0 || q.PausedAt != nil {
			full = append(full, q)
		} else {
			names = append(names, q.Name)
		}
	}
	return full, strings.Join(names, ", ")
}

// failedJobs is a section of jobs that failed, in one state.
type failedJobs struct {
	State   string
	Heading string
	Newest  string // of the list of jobs
	From    string
	Reasons reasonsTable
	Jobs    []failedJob
	Buttons bool
}

// failedJob is a job in a section.
type failedJob struct {
	ID       int64
	Kind     string
	Users    []int64
	More     bool // the job has more than these users
	Attempts string
	When     string
	Error    string
	Waits    bool // it waits for another attempt
}

// reasonsTable shows failures grouped by reason.
type reasonsTable struct {
	admin.Reasons
	ID      string
	State   string // of the jobs; empty for rejects
	What    string // is counted
	Now     time.Time
	Buttons bool
	Changes []string // changes that have buttons
}

// Others returns the number of failures outside the groups shown.
func (r reasonsTable) Others() string {
	others := r.Read
	for _, g := range r.Groups {
		others -= g.Count
	}
	if others == 0 {
		return ""
	}
	return counted(others, "other, for another reason", "others, for other reasons") + "."
}

func (p *pages) failed(s admin.Snapshot, from string) (all []failedJobs) {
	section := func(state, heading, newest string, reasons admin.Reasons, changes ...string) failedJobs {
		return failedJobs{
			State: state, Heading: heading, Newest: newest, From: from, Buttons: p.buttons(),
			Reasons: reasonsTable{ID: state, State: state, What: "Jobs", Reasons: reasons, Now: s.TakenAt, Buttons: p.buttons(), Changes: changes},
		}
	}
	row := func(id int64, kind string, users []int64, attempts, when, lastError string) failedJob {
		shown := users[:min(len(users), queue.MaxUsers-1)]
		return failedJob{ID: id, Kind: kind, Users: shown, More: len(users) > len(shown), Attempts: attempts, When: when, Error: lastError}
	}
	if len(s.Retryable) > 0 {
		retryable := section("retryable", "Jobs that failed and are tried again", "Next", s.Reasons.Retryable, "retry_jobs", "cancel_jobs")
		for _, j := range s.Retryable {
			job := row(j.ID, j.Kind, j.Users, fmt.Sprintf("%d of %d", j.Attempt, j.MaxAttempts), in(s.TakenAt, j.ScheduledAt), j.Error)
			job.Waits = true
			retryable.Jobs = append(retryable.Jobs, job)
		}
		all = append(all, retryable)
	}
	ended := func(state, heading string, jobs []queue.EndedJob, reasons admin.Reasons) {
		of := section(state, heading, "Newest", reasons, "retry_jobs")
		for _, j := range jobs {
			of.Jobs = append(of.Jobs, row(j.ID, j.Kind, j.Users, fmt.Sprint(j.Attempt), when(s.TakenAt, j.FinalizedAt), j.Error))
		}
		all = append(all, of)
	}
	ended("discarded", "Discarded jobs", s.Discarded, s.Reasons.Discarded)
	ended("cancelled", "Cancelled jobs", s.Cancelled, s.Reasons.Cancelled)
	return all
}
