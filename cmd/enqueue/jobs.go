package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
)

func jobsCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, and retry, cancel or discard them",
		Example: "  enqueue jobs list --state discarded\n" +
			"  enqueue jobs retry --state discarded --yes",
	}
	c.AddCommand(
		jobsListCommand(p),
		jobsShowCommand(p),
		jobsChangeCommand(p, jobsChange{
			action: queue.Retry, done: "retried", short: "Work jobs again now",
			long: "Make jobs available now, by ids or by a filter: those that wait for another attempt, and those that were\n" +
				"cancelled or discarded. One that used up its attempts gets another.",
			examples: []string{"42", "--state discarded --kind activity_ingest --yes"},
		}),
		jobsChangeCommand(p, jobsChange{
			action: queue.Cancel, done: "cancelled", short: "End jobs; a running one is asked to stop",
			long: "Cancel jobs, by ids or by a filter. A running one is asked to stop and ends as cancelled unless it completes\n" +
				"first. Cancelled jobs are kept for a week; until then retry brings them back.",
			examples: []string{"42 43", "--queue recalc_bulk --older-than 48h"},
		}),
		jobsChangeCommand(p, jobsChange{
			action: queue.Discard, done: "discarded", short: "Give up on jobs that do not run",
			long: "Discard jobs, by ids or by a filter, as if their last attempt had failed. Discarded jobs are kept for a\n" +
				"week; until then retry brings them back.",
			examples: []string{"42", "--state retryable --older-than 24h --yes"},
		}),
	)
	return c
}

func jobsListCommand(p *program) *cobra.Command {
	var flags filterFlags
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "List the newest jobs",
		Long:  "List the newest jobs that every filter selects. Completed jobs are removed after river.completed_retention.",
		Example: "  enqueue jobs list --state retryable,discarded --limit 20\n" +
			"  enqueue jobs list --user 7 --json",
		RunE: func(c *cobra.Command, _ []string) error {
			filter, err := flags.parse(c, nil, queue.States())
			if err := errors.Join(err, checkLimit(limit)); err != nil {
				return err
			}
			return readAndShow(c.Context(), p, "enqueue jobs", func(db *database) ([]queue.JobSummary, error) {
				return db.jobs.ListJobs(c.Context(), filter, limit)
			}, func(found []queue.JobSummary) {
				p.writeNewest("jobs", "ID\tKIND\tQUEUE\tSTATE\tATTEMPT\tAGE\tLAST ERROR", cli.Rows(found, func(j queue.JobSummary) string {
					return fmt.Sprintf("%d\t%s\t%s\t%s\t%d/%d\t%s\t%s",
						j.ID, cli.OneLine(j.Kind), cli.OneLine(j.Queue), p.State(j.State), j.Attempt, j.MaxAttempts, ago(j.CreatedAt), cli.OneLine(j.Error))
				}), limit)
			})
		},
	}
	flags.registerForJobs(c)
	limitFlag(c, &limit)
	p.JSONFlag(c, "a JSON list")
	return c
}

func jobsShowCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show a job with its errors and args",
		Example: "  enqueue jobs show 42\n" +
			"  enqueue jobs show 42 --json",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return readAndShow(c.Context(), p, "enqueue jobs", func(db *database) (queue.JobDetails, error) {
				return db.jobs.ShowJob(c.Context(), id)
			}, p.writeJob)
		},
	}
	p.JSONFlag(c, "a JSON object")
	return c
}

func (p *program) writeJob(job queue.JobDetails) {
	p.Printf("job %d: %s in queue %s, %s\n", job.ID, job.Kind, job.Queue, p.State(job.State))
	p.Printf("attempt %d of %d, priority %d\n", job.Attempt, job.MaxAttempts, job.Priority)
	moment := func(name string, t *time.Time) {
		if t != nil {
			p.Printf("%s %s (%s ago)\n", name, t.Local().Format(time.DateTime), ago(*t))
		}
	}
	moment("enqueued", &job.CreatedAt)
	moment("tried", job.AttemptedAt)
	moment("ended", job.FinalizedAt)
	for _, e := range job.Errors {
		p.Printf("attempt %d %s at %s: %s\n", e.Attempt, p.State("failed"), e.At.Local().Format(time.DateTime), cli.OneLine(e.Error))
	}
	p.writeIndented("args", job.Args)
}

// maxLines is the max number of lines of JSON printed among other text.
const maxLines = 40

// writeIndented prints JSON under a name, cut off after maxLines.
func (p *program) writeIndented(name string, data json.RawMessage) {
	var text bytes.Buffer
	if err := json.Indent(&text, data, "", "  "); err != nil { // JSON from PostgreSQL is valid
		text.Write(data)
	}
	lines := strings.Split(text.String(), "\n")
	if left := len(lines) - maxLines; left > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("… %s; see all with --json", cli.Counted(left, "more line", "more lines")))
	}
	p.Printf("%s %s\n", name, strings.Join(lines, "\n"))
}
