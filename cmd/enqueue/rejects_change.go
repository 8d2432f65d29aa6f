package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
)

// retriedRejects is what retry --json prints.
type retriedRejects struct {
	Matched int64 `json:"matched"`
	Preview bool  `json:"preview"`
	admin.RetriedRejects
}

// droppedRejects is what drop --json prints.
type droppedRejects struct {
	Matched int64 `json:"matched"`
	Preview bool  `json:"preview"`
	Dropped int64 `json:"dropped"`
}

func rejectsRetryCommand(p *program) *cobra.Command {
	s := rejectsScope{program: p, done: "tried again", c: &cobra.Command{
		Use:   "retry [ID...]",
		Short: "Enqueue rejected activities again, after a fix",
		Long: "Enqueue rejected activities again, by ids or by a filter: one commit inserts the job and removes the reject.\n" +
			"Rejects that are still invalid, or superseded by a newer version, stay, and the exit code is 1.\n\n" +
			"With a filter it only shows what it would do, unless --yes is given.",
		Example: "  enqueue rejects retry 3 4\n" +
			"  enqueue rejects retry --user 7 --yes\n" +
			"  enqueue rejects retry --all",
		Args: cobra.ArbitraryArgs,
	}}
	return s.command(func(ctx context.Context, o *admin.Actions, filter admin.Filter, preview admin.RejectPreview) (err error) {
		result := retriedRejects{Matched: preview.Rejects, Preview: !s.yes, RetriedRejects: admin.RetriedRejects{JobIDs: []int64{}, Left: []admin.Left{}}}
		if s.yes {
			if result.RetriedRejects, err = o.RetryRejects(ctx, filter, preview); err != nil {
				return err
			}
		}
		return errors.Join(s.show(result, preview, func() {
			p.Printf("enqueued %s in %s\n", cli.Counted(result.Retried, "activity", "activities"), cli.Counted(len(result.JobIDs), "job", "jobs"))
		}), leftError(result.Left))
	})
}

// leftError names the first rejects that stayed.
func leftError(left []admin.Left) error {
	if len(left) == 0 {
		return nil
	}
	const maxNamed = 10
	faults := []error{fmt.Errorf("%s rejected", cli.Counted(len(left), "activity stays", "activities stay"))}
	for _, l := range left[:min(len(left), maxNamed)] {
		faults = append(faults, fmt.Errorf("reject %d: %s", l.ID, cli.OneLine(l.Reason)))
	}
	return errors.Join(faults...)
}

func rejectsDropCommand(p *program) *cobra.Command {
	s := rejectsScope{program: p, done: "dropped for good", c: &cobra.Command{
		Use:   "drop [ID...]",
		Short: "Delete rejected activities for good",
		Long: "Delete rejected activities, by ids or by a filter. They cannot be restored.\n\n" +
			"With a filter it only shows what it would do, unless --yes is given.",
		Example: "  enqueue rejects drop 3\n" +
			"  enqueue rejects drop --older-than 720h --yes",
		Args: cobra.ArbitraryArgs,
	}}
	return s.command(func(ctx context.Context, o *admin.Actions, filter admin.Filter, preview admin.RejectPreview) (err error) {
		result := droppedRejects{Matched: preview.Rejects, Preview: !s.yes}
		if s.yes {
			if result.Dropped, err = o.DropRejects(ctx, filter, preview); err != nil {
				return err
			}
		}
		return s.show(result, preview, func() { p.Printf("dropped %s\n", cli.Counted(result.Dropped, "reject", "rejects")) })
	})
}

// rejectsScope has the common flags of retry and drop: which rejects, and --yes.
type rejectsScope struct {
	*program
	c        *cobra.Command
	done     string
	flags    filterFlags
	all, yes bool
}

func (s *rejectsScope) command(act func(context.Context, *admin.Actions, admin.Filter, admin.RejectPreview) error) *cobra.Command {
	s.c.RunE = func(c *cobra.Command, args []string) error {
		parse := s.flags.parseScope
		if s.all && len(args) == 0 {
			parse = s.flags.parse
		}
		parsed, err := parse(c, args, nil)
		if err != nil {
			return err
		}
		filter := rejectFilter(parsed)
		s.yes = s.yes || len(args) > 0
		return s.withDatabase(c.Context(), "enqueue rejects", func(db *database) error {
			preview, err := db.actions.PreviewRejects(c.Context(), filter)
			if err != nil {
				return err
			}
			if preview.Rejects < int64(len(filter.IDs)) {
				return fmt.Errorf("nothing was done: only %d of %d exist; see: enqueue rejects list", preview.Rejects, len(filter.IDs))
			}
			return act(c.Context(), db.actions, filter, preview)
		})
	}
	s.flags.register(s.c)
	s.c.Flags().BoolVar(&s.all, "all", false, "every reject")
	s.c.Flags().BoolVar(&s.yes, "yes", false, "do it to what the filter selects")
	s.JSONFlag(s.c, "a JSON object")
	return s.c
}

// show prints what was done with done, or otherwise the preview.
func (s *rejectsScope) show(result any, preview admin.RejectPreview, done func()) error {
	return s.Show(result, func() {
		switch {
		case s.yes:
			done()
		case preview.Rejects == 0:
			s.Printf("no such rejects\n")
		default:
			s.Printf("%s of %s would be %s; nothing was done. Do it with --yes\n",
				cli.Counted(preview.Rejects, "reject", "rejects"), cli.Counted(preview.Users, "user", "users"), s.done)
		}
	})
}
