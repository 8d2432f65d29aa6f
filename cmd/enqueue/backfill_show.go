package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
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

// getBackfill returns the backfill, the newest for 0.
func getBackfill(ctx context.Context, pool *dbpool.Pool, schema string, id int64) (backfill.Backfill, error) {
	if id > 0 {
		return backfill.Get(ctx, pool, schema, id)
	}
	newest, err := backfill.List(ctx, pool, schema, 1)
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

func backfillStatusCommand(configFile *string, io streams) *cobra.Command {
	var wait, asJSON bool
	c := &cobra.Command{
		Use:   "status [ID]",
		Short: "Show a backfill's progress",
		Long:  "Show a backfill's progress, and which chunks failed and why. Without an ID it is the newest one.",
		Example: "  enqueue backfill status\n" +
			"  enqueue backfill status 3 --wait",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := backfillID(args)
			if err != nil {
				return err
			}
			return withDatabase(c.Context(), *configFile, "enqueue backfill", func(pool *dbpool.Pool, settings config.Config) error {
				b, err := getBackfill(c.Context(), pool, settings.River.Schema, id)
				if err != nil {
					return err
				}
				if wait && b.State == backfill.Running {
					return followBackfill(c.Context(), pool, settings.River.Schema, b.ID, asJSON, io)
				}
				return showBackfill(c.Context(), pool, settings.River.Schema, b, asJSON, io)
			})
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "show progress until it is finished; Ctrl-C leaves it running")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func backfillListCommand(configFile *string, io streams) *cobra.Command {
	var asJSON bool
	var limit int
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the newest backfills",
		Example: "  enqueue backfill list --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 {
				return cli.Usagef("--limit must be positive, got %d", limit)
			}
			return withDatabase(c.Context(), *configFile, "enqueue backfill", func(pool *dbpool.Pool, settings config.Config) error {
				found, err := backfill.List(c.Context(), pool, settings.River.Schema, limit)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(io.out).Encode(found)
				}
				return writeBackfills(io.out, found)
			})
		},
	}
	c.Flags().IntVar(&limit, "limit", 20, "how `many`")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return c
}

func writeBackfills(w io.Writer, found []backfill.Backfill) error {
	rows := make([]string, len(found))
	for i, b := range found {
		rows[i] = fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s", b.ID, b.State, scopeText(b),
			share(b.UserCount), share(b.Rows), b.RowsChanged, b.FailedChunks, b.CreatedAt.Local().Format(time.DateTime))
	}
	return cli.WriteTable(w, "ID\tSTATE\tSCOPE\tUSERS\tROWS\tCHANGED\tFAILED CHUNKS\tCREATED", rows)
}

func share(s backfill.Share) string { return fmt.Sprintf("%d of %d", s.Done, s.Total) }

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

// showBackfill prints the backfill and returns an error when chunks of a
// finished one failed.
func showBackfill(ctx context.Context, pool *dbpool.Pool, schema string, b backfill.Backfill, asJSON bool, io streams) error {
	failures, err := backfill.Failures(ctx, pool, schema, b.ID)
	if err != nil {
		return err
	}
	if asJSON {
		if err := json.NewEncoder(io.out).Encode(shownBackfill{b, failures}); err != nil {
			return err
		}
	} else {
		writeBackfill(io.out, b, failures)
	}
	if b.State == backfill.Finished && len(failures) > 0 {
		return fmt.Errorf("%s of backfill %d failed; once the reason is gone: enqueue backfill resume %d",
			counted(len(failures), "chunk", "chunks"), b.ID, b.ID)
	}
	return nil
}

func writeBackfill(w io.Writer, b backfill.Backfill, failures []backfill.Failure) {
	state := b.State
	if b.State == backfill.Running && !b.Planned {
		state = "running, still being planned"
	}
	_, _ = fmt.Fprintf(w, "backfill %d (%s): %s\n", b.ID, scopeText(b), state)
	_, _ = fmt.Fprintf(w, "%s users, %s rows, %d changed", share(b.UserCount), share(b.Rows), b.RowsChanged)
	if b.EndedAt != nil {
		_, _ = fmt.Fprintf(w, ", in %v", b.EndedAt.Sub(b.CreatedAt).Round(100*time.Millisecond))
	}
	_, _ = fmt.Fprintln(w)
	for _, f := range failures {
		_, _ = fmt.Fprintf(w, "chunk %d failed: %s\n", f.Chunk, strings.TrimSpace(f.Reason))
	}
}
