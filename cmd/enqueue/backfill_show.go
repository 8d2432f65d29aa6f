package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/cli"
)

// backfillID reads the optional argument; 0 is the newest backfill.
func backfillID(args []string) (int64, error) {
	if len(args) == 0 {
		return 0, nil
	}
	id, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || id <= 0 {
		return 0, cli.Usagef("the ID of a backfill is a positive number, got %q", args[0])
	}
	return id, nil
}

// withBackfill calls fn with the backfill that the optional argument names, or the newest.
func (p *program) withBackfill(ctx context.Context, args []string, fn func(*database, backfill.Backfill) error) error {
	id, err := backfillID(args)
	if err != nil {
		return err
	}
	return p.withDatabase(ctx, "enqueue backfill", func(db *database) error {
		b, err := db.getBackfill(ctx, id)
		if err != nil {
			return err
		}
		return fn(db, b)
	})
}

// getBackfill returns the backfill, the newest for 0.
func (db *database) getBackfill(ctx context.Context, id int64) (backfill.Backfill, error) {
	if id > 0 {
		return backfill.Get(ctx, db.pool, db.schema, id)
	}
	newest, err := backfill.List(ctx, db.pool, db.schema, 1)
	if err != nil {
		return backfill.Backfill{}, err
	}
	if len(newest) == 0 {
		return backfill.Backfill{}, errors.New("there is no backfill; start one with: enqueue backfill")
	}
	return newest[0], nil
}

// shownBackfill is one backfill as status --json prints it.
type shownBackfill struct {
	backfill.Backfill
	Failures []backfill.Failure `json:"failures"`
}

func backfillStatusCommand(p *program) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:   "status [ID]",
		Short: "Show a backfill's progress",
		Long:  "Show a backfill's progress, and which chunks failed and why. Without an ID it is the newest one.",
		Example: "  enqueue backfill status\n" +
			"  enqueue backfill status 3 --wait",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withBackfill(c.Context(), args, func(db *database, b backfill.Backfill) error {
				if wait && b.State == backfill.Running {
					return db.followBackfill(c.Context(), b.ID)
				}
				return db.showBackfill(c.Context(), b)
			})
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "show progress until it is finished; Ctrl-C leaves it running")
	p.JSONFlag(c, "a JSON object")
	return c
}

func backfillListCommand(p *program) *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the newest backfills",
		Example: "  enqueue backfill list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 {
				return cli.Usagef("--limit must be positive, got %d", limit)
			}
			return readAndShow(c.Context(), p, "enqueue backfill", func(db *database) ([]backfill.Backfill, error) {
				return backfill.List(c.Context(), db.pool, db.schema, limit)
			}, p.writeBackfills)
		},
	}
	c.Flags().IntVar(&limit, "limit", 20, "how `many`")
	p.JSONFlag(c, "a JSON list")
	return c
}

func (p *program) writeBackfills(found []backfill.Backfill) {
	p.Table("ID\tSTATE\tSCOPE\tUSERS\tROWS\tCHANGED\tFAILED CHUNKS\tAGE", cli.Rows(found, func(b backfill.Backfill) string {
		return fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s", b.ID, p.State(b.State), scopeText(b),
			share(b.UserCount), share(b.Rows), b.RowsChanged, b.FailedChunks, ago(b.CreatedAt))
	}))
}

func share(s backfill.Share) string { return fmt.Sprintf("%d of %d", s.Done, s.Total) }

// countedShare formats a share with its noun.
func countedShare(s backfill.Share, one, many string) string {
	return share(s) + " " + cli.Noun(s.Total, one, many)
}

func scopeText(b backfill.Backfill) string {
	scope := "everyone"
	switch n := len(b.Users); {
	case n == 1:
		scope = fmt.Sprintf("user %d", b.Users[0])
	case n > 1:
		scope = fmt.Sprintf("%d users", n)
	}
	if b.From != nil {
		scope += " from " + *b.From
	}
	if b.To != nil {
		scope += " to " + *b.To
	}
	return scope
}

// showBackfill prints the backfill and returns an error if it is finished and
// chunks failed.
func (db *database) showBackfill(ctx context.Context, b backfill.Backfill) error {
	failures, err := backfill.Failures(ctx, db.pool, db.schema, b.ID)
	if err != nil {
		return err
	}
	err = db.Show(shownBackfill{b, failures}, func() { db.writeBackfill(b, failures) })
	if err == nil && b.State == backfill.Finished && len(failures) > 0 {
		err = fmt.Errorf("%s of backfill %d failed; once the reason is gone: enqueue backfill resume %d",
			cli.Counted(len(failures), "chunk", "chunks"), b.ID, b.ID)
	}
	return err
}

func (p *program) writeBackfill(b backfill.Backfill, failures []backfill.Failure) {
	state := p.State(b.State)
	if b.State == backfill.Running && !b.Planned {
		state = "running, still being planned"
	}
	took := ""
	if b.EndedAt != nil {
		took = ", in " + admin.HumanReadable(b.EndedAt.Sub(b.CreatedAt))
	}
	p.Printf("backfill %d (%s): %s\n%s, %s, %d changed%s\n", b.ID, scopeText(b), state,
		countedShare(b.UserCount, "user", "users"), countedShare(b.Rows, "row", "rows"), b.RowsChanged, took)
	for _, f := range failures {
		p.Printf("chunk %d %s: %s\n", f.Chunk, p.State("failed"), strings.TrimSpace(f.Reason))
	}
}
