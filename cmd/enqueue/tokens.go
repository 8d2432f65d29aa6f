package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/jobs"
)

func tokensCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "tokens",
		Short: "Refresh users' tokens at the provider, and show their status",
	}
	c.AddCommand(tokensRefreshCommand(p), tokensStatusCommand(p))
	return c
}

// refreshFlags select users.
type refreshFlags struct {
	users  []int32
	within time.Duration
}

func tokensRefreshCommand(p *program) *cobra.Command {
	var flags refreshFlags
	var wait bool
	c := &cobra.Command{
		Use:   "refresh [flags]",
		Short: "Enqueue the refresh of tokens",
		Long: "Enqueue the refresh of users' tokens, or of all that expire soon. Workers do the latter every tokens.refresh_every\n" +
			"by themselves. Users who have to authorize the application again are skipped: see enqueue tokens status.",
		Example: "  enqueue tokens refresh --user 7 --user 8 --wait\n" +
			"  enqueue tokens refresh --expiring-within 30m",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return err
			}
			return p.withDatabase(c.Context(), "enqueue tokens", func(db *database) error {
				return db.refreshTokens(c.Context(), flags, wait)
			})
		},
	}
	c.Flags().Int32SliceVar(&flags.users, "user", nil, "`id` of a user; may be repeated")
	c.Flags().DurationVar(&flags.within, "expiring-within", 0, "`time`, as 30m; only tokens that expire within it")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is done; Ctrl-C leaves it running")
	p.JSONFlag(c, "a JSON object, with --wait as it ended")
	return c
}

// validate reports all faults at once.
func (f *refreshFlags) validate() error {
	var faults []error
	for _, user := range f.users {
		if user <= 0 {
			faults = append(faults, fmt.Errorf("--user must be a positive id, got %d", user))
		}
	}
	switch {
	case f.within == 0 && len(f.users) == 0:
		faults = append(faults, errors.New("whose tokens? give --user, --expiring-within or both"))
	case f.within != 0 && (f.within < time.Second || f.within > jobs.MaxExpiringWithin):
		faults = append(faults, fmt.Errorf("--expiring-within must be 1s to %v, got %v", jobs.MaxExpiringWithin, f.within))
	}
	if len(faults) > 0 {
		return &cli.UsageError{Err: errors.Join(faults...)}
	}
	return nil
}

// enqueuedRefresh is what refresh prints.
type enqueuedRefresh struct {
	JobIDs []int64 `json:"job_ids"`
	Users  int     `json:"users"`

	After *tokens.Status `json:"after,omitempty"` // of these users, with --wait
}

func (db *database) refreshTokens(ctx context.Context, flags refreshFlags, wait bool) error {
	if err := cli.RequireTokenKeys(db.config); err != nil {
		return err
	}
	ids, users, err := db.enqueueRefresh(ctx, flags)
	if err != nil {
		return err
	}
	done := enqueuedRefresh{JobIDs: append([]int64{}, ids...), Users: len(users)}
	if wait && len(ids) > 0 {
		if !db.JSON {
			db.writeEnqueuedRefresh(done)
		}
		return db.waitForTokens(ctx, users, done)
	}
	return db.Show(done, func() { db.writeEnqueuedRefresh(done) })
}

func (p *program) writeEnqueuedRefresh(done enqueuedRefresh) {
	if len(done.JobIDs) == 0 {
		p.Printf("nothing to do: no tokens expire in this time of which nobody takes care yet\n")
		return
	}
	p.Printf("enqueued the refresh of the tokens of %s in %s\n", cli.Counted(done.Users, "user", "users"), cli.Counted(len(done.JobIDs), "job", "jobs"))
}

func (db *database) enqueueRefresh(ctx context.Context, flags refreshFlags) (ids []int64, users []int32, err error) {
	err = db.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if users = flags.users; len(users) == 0 {
			if users, err = tokens.Due(ctx, tx, db.schema, flags.within); err != nil {
				return err
			}
		}
		ids, err = db.enqueuer.RefreshTokensTx(ctx, tx, jobs.PriorityLive, users, flags.within)
		return err
	})
	return ids, users, err
}

// waitForTokens waits for the jobs and shows the token status of their users.
func (db *database) waitForTokens(ctx context.Context, users []int32, done enqueuedRefresh) error {
	failed, reason, err := db.finished(ctx, "refreshing tokens", done.JobIDs)
	if err != nil {
		return err
	}
	after, err := tokens.GetStatus(ctx, db.pool, db.schema, tokens.RefreshBefore, users)
	if err != nil {
		return err
	}
	done.After = &after
	err = db.Show(done, func() { db.writeTokenStatus(after, tokens.RefreshBefore) })
	switch {
	case err != nil:
		return err
	case failed > 0:
		return fmt.Errorf("%s failed, the last error: %s", cli.Counted(failed, "job", "jobs"), reason)
	case after.NeedsReauthorization > 0:
		return fmt.Errorf("%s to authorize the application again", cli.Counted(after.NeedsReauthorization, "user has", "users have"))
	}
	return nil
}
