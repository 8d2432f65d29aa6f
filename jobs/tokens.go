package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// QueueTokens has the refreshes of tokens.
const QueueTokens = "tokens"

// KindTokenRefresh is the kind of TokenRefresh in river_job.kind.
const KindTokenRefresh = "token_refresh"

// Limits on one token_refresh job.
const (
	MaxUsersPerRefresh = 1000
	MaxExpiringWithin  = 30 * 24 * time.Hour
)

// maxRefreshAttempts is how often a job with failing users is tried. After that they
// wait for the next periodic job.
const maxRefreshAttempts = 5

// TokenRefresh refreshes tokens at the provider. The job is done when each of its users has
// fresh tokens or has to authorize again; each user's outcome is committed separately.
// Tokens that were stored after the job was enqueued are fresh.
type TokenRefresh struct {
	// UserIDs are 1 to 1,000 users. If empty, the job enqueues jobs for all users whose
	// tokens expire.
	UserIDs []int32 `json:"user_ids,omitempty"`
	// ExpiringWithin, in seconds, skips users whose tokens live longer. 0 skips none
	// and requires UserIDs.
	ExpiringWithin int64 `json:"expiring_within,omitempty"`
}

// Kind implements river.JobArgs.
func (TokenRefresh) Kind() string { return KindTokenRefresh }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (args TokenRefresh) InsertOpts() river.InsertOpts { return args.insertOpts(PriorityLive) }

func (TokenRefresh) insertOpts(priority int) river.InsertOpts {
	return river.InsertOpts{Queue: QueueTokens, Priority: priority, MaxAttempts: maxRefreshAttempts}
}

// Validate reports every fault of the args at once, or nil.
func (args TokenRefresh) Validate() error {
	var faults []error
	if len(args.UserIDs) > MaxUsersPerRefresh {
		faults = append(faults, fmt.Errorf("user_ids: a job takes at most %d, got %d", MaxUsersPerRefresh, len(args.UserIDs)))
	}
	for i, user := range args.UserIDs {
		if user <= 0 {
			faults = append(faults, fmt.Errorf("user_ids[%d]: must be a positive integer, got %d", i, user))
		}
	}
	switch maxSeconds := int64(MaxExpiringWithin / time.Second); {
	case args.ExpiringWithin < 0 || args.ExpiringWithin > maxSeconds:
		faults = append(faults, fmt.Errorf("expiring_within: must be 0 to %d seconds, got %d", maxSeconds, args.ExpiringWithin))
	case args.ExpiringWithin == 0 && len(args.UserIDs) == 0:
		faults = append(faults, errors.New("user_ids: without users expiring_within is required"))
	}
	return errors.Join(faults...)
}

// usersPerRefresh is how many users one job has when a request for many users is split.
// Jobs are small because a killed worker's job is repeated as a whole.
const usersPerRefresh = 50

// RefreshTokensTx inserts jobs for any number of users within the caller's
// transaction and returns the jobs' ids in order. within becomes
// ExpiringWithin. priority is PriorityLive or PriorityBulk.
func (e *Enqueuer) RefreshTokensTx(ctx context.Context, tx pgx.Tx, priority int, users []int32, within time.Duration) ([]int64, error) {
	var args []TokenRefresh
	for part := range slices.Chunk(users, usersPerRefresh) {
		args = append(args, TokenRefresh{UserIDs: part, ExpiringWithin: int64(within / time.Second)})
	}
	if len(args) == 0 {
		return nil, nil
	}
	return insert(ctx, tx, e, priority, args)
}
