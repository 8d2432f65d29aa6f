package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/jobs"
)

func tokensCommand(configFile *string, io streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "tokens",
		Short: "Refresh users' tokens at the provider, and show their status",
	}
	c.AddCommand(tokensRefreshCommand(configFile, io), tokensStatusCommand(configFile, io))
	return c
}

// refreshFlags select users.
type refreshFlags struct {
	users  []int32
	within time.Duration
}

func tokensRefreshCommand(configFile *string, io streams) *cobra.Command {
	var flags refreshFlags
	var wait, asJSON bool
	c := &cobra.Command{
		Use:   "refresh [flags]",
		Short: "Enqueue the refresh of tokens",
		Long: "Enqueue the refresh of users' tokens, or of all that expire soon. Workers do the latter every tokens.refresh_every\n" +
			"by themselves. Users who have to authorize the application again are skipped: see enqueue tokens status.",
		Example: "  enqueue tokens refresh --user 7 --user 8 --wait\n" +
			"  enqueue tokens refresh --expiring-within 30m",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return err
			}
			return refreshTokens(c.Context(), *configFile, flags, wait, asJSON, io)
		},
	}
	c.Flags().Int32SliceVar(&flags.users, "user", nil, "`id` of a user; may be repeated")
	c.Flags().DurationVar(&flags.within, "expiring-within", 0, "`time`, as 30m; only tokens that expire within it")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is done; Ctrl-C leaves it running")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object, with --wait as it ended")
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

func refreshTokens(ctx context.Context, configFile string, flags refreshFlags, wait, asJSON bool, io streams) error {
	return withDatabase(ctx, configFile, "enqueue tokens", func(pool *dbpool.Pool, settings config.Config) error {
		if err := cli.RequireTokenKeys(settings); err != nil {
			return err
		}
		ids, users, err := enqueueRefresh(ctx, pool, settings, flags)
		if err != nil {
			return err
		}
		if !asJSON {
			if len(ids) == 0 {
				_, err := fmt.Fprintln(io.out, "nothing to do: no tokens expire in this time of which nobody takes care yet")
				return err
			}
			_, _ = fmt.Fprintf(io.out, "enqueued the refresh of the tokens of %s in %s\n", counted(len(users), "user", "users"), counted(len(ids), "job", "jobs"))
		}
		done := enqueuedRefresh{JobIDs: append([]int64{}, ids...), Users: len(users)}
		if !wait || len(ids) == 0 {
			if asJSON {
				return json.NewEncoder(io.out).Encode(done)
			}
			return nil
		}
		return waitForTokens(ctx, pool, settings, users, done, asJSON, io)
	})
}

func enqueueRefresh(ctx context.Context, pool *dbpool.Pool, settings config.Config, flags refreshFlags) (ids []int64, users []int32, err error) {
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, settings.River.Schema)
	if err != nil {
		return nil, nil, err
	}
	err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if users = flags.users; len(users) == 0 {
			if users, err = tokens.Due(ctx, tx, settings.River.Schema, flags.within); err != nil {
				return err
			}
		}
		ids, err = enqueuer.RefreshTokensTx(ctx, tx, jobs.PriorityLive, users, flags.within)
		return err
	})
	return ids, users, err
}

// waitForTokens waits for the jobs and returns the token status of their users.
func waitForTokens(ctx context.Context, pool *dbpool.Pool, settings config.Config, users []int32, done enqueuedRefresh, asJSON bool, io streams) error {
	w := &waiter{pool: pool, schema: queue.Schema(settings.River.Schema), io: io}
	failed, reason, err := w.finished(ctx, "refreshing tokens", done.JobIDs)
	if err != nil {
		return err
	}
	after, err := tokens.GetStatus(ctx, pool, settings.River.Schema, settings.Tokens.RefreshBefore, users)
	if err != nil {
		return err
	}
	done.After = &after
	if asJSON {
		err = json.NewEncoder(io.out).Encode(done)
	} else {
		err = writeTokenStatus(io.out, after, settings.Tokens.RefreshBefore)
	}
	switch {
	case err != nil:
		return err
	case failed > 0:
		return fmt.Errorf("%s failed, the last error: %s", counted(failed, "job", "jobs"), reason)
	case after.NeedsReauthorization > 0:
		return fmt.Errorf("%s to authorize the application again", counted(int(after.NeedsReauthorization), "user has", "users have"))
	}
	return nil
}
