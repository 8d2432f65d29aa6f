package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
)

// jobsChange describes retry, cancel or discard.
type jobsChange struct {
	action            queue.Action
	short, long, done string
	examples          []string
}

// changedJobs is what these commands print with --json.
type changedJobs struct {
	Action  string           `json:"action"`
	Groups  []queue.JobGroup `json:"groups"`  // what was selected
	Matched int64            `json:"matched"` // jobs selected
	Changed int64            `json:"changed"` // 0 in a preview
	Preview bool             `json:"preview"`
}

func jobsChangeCommand(p *program, change jobsChange) *cobra.Command {
	var flags filterFlags
	var yes bool
	c := &cobra.Command{
		Use:   change.action.Name + " [ID...]",
		Short: change.short,
		Long:  change.long + "\n\nWith a filter it only shows what it would do, unless --yes is given.",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			filter, err := flags.parseScope(c, args, change.action.From)
			if err != nil {
				return err
			}
			return p.withDatabase(c.Context(), "enqueue jobs", func(db *database) error {
				return db.changeJobs(c.Context(), change, filter, yes || len(args) > 0)
			})
		},
	}
	for i, args := range change.examples {
		if i > 0 {
			c.Example += "\n"
		}
		c.Example += "  enqueue jobs " + change.action.Name + " " + args
	}
	flags.registerForJobs(c)
	c.Flags().BoolVar(&yes, "yes", false, "do it to what the filter selects")
	p.JSONFlag(c, "a JSON object")
	return c
}

func (db *database) changeJobs(ctx context.Context, change jobsChange, filter queue.Filter, yes bool) error {
	preview, err := db.jobs.PreviewJobs(ctx, change.action, filter)
	if err != nil {
		return err
	}
	if preview.Jobs < int64(len(filter.IDs)) {
		return db.unchangeable(ctx, change, filter)
	}
	result := changedJobs{Action: change.action.Name, Groups: preview.Groups, Matched: preview.Jobs, Preview: !yes}
	if yes {
		result.Changed, err = db.jobs.ChangeJobs(ctx, change.action, filter, preview)
		if err != nil {
			return fmt.Errorf("%w; %s so far", err, cli.Counted(result.Changed, "job was "+change.done, "jobs were "+change.done))
		}
	}
	return db.Show(result, func() {
		switch {
		case yes:
			db.Printf("%s %s\n", change.done, cli.Counted(result.Changed, "job", "jobs"))
			return
		case preview.Jobs == 0:
			db.Printf("no such jobs\n")
			return
		}
		db.Table("KIND\tQUEUE\tSTATE\tJOBS", cli.Rows(preview.Groups, func(g queue.JobGroup) string {
			return fmt.Sprintf("%s\t%s\t%s\t%d", cli.OneLine(g.Kind), cli.OneLine(g.Queue), db.State(g.State), g.Jobs)
		}))
		db.Printf("%s would be %s; nothing was done. Do it with --yes\n", cli.Counted(preview.Jobs, "job", "jobs"), change.done)
	})
}

// unchangeable returns an error that says which of the ids cannot be changed, and why.
func (db *database) unchangeable(ctx context.Context, change jobsChange, filter queue.Filter) error {
	found, err := db.jobs.ListJobs(ctx, queue.Filter{IDs: filter.IDs}, len(filter.IDs))
	if err != nil {
		return err
	}
	states := map[int64]string{}
	for _, j := range found {
		states[j.ID] = j.State
	}
	faults := []error{errors.New("nothing was done")}
	for _, id := range filter.IDs {
		switch state, exists := states[id]; {
		case !exists:
			faults = append(faults, fmt.Errorf("job %d: %w", id, queue.ErrNotFound))
		case !slices.Contains(change.action.From, state):
			faults = append(faults, fmt.Errorf("job %d is %s and cannot be %s", id, state, change.done))
		}
	}
	return errors.Join(faults...)
}
