package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/throughput"
	"github.com/trainingmonkey/worker/jobs"
)

const (
	// sweepInterval is how often rows that are no longer needed are deleted, and
	// finishedInterval how often finished jobs are.
	sweepInterval    = 10 * time.Minute
	finishedInterval = 30 * time.Second
	rescueInterval   = 30 * time.Second
	// failedRetention is how long cancelled and discarded jobs stay.
	failedRetention = 7 * 24 * time.Hour
	// sweptRows is the max number of rows that one transaction deletes.
	sweptRows = 10_000
)

// sweepVersionsQuery deletes the recorded versions of jobs older than every ingest job that
// may still be worked. A day's delay covers enqueuers whose transactions are still open. It
// deletes a bounded number of rows, in key order.
func sweepVersionsQuery(schema queue.Schema) string {
	return `
-- name: sweep_versions
DELETE FROM ingest_versions WHERE (user_id, activity_id) IN (
	SELECT user_id, activity_id FROM ingest_versions
	WHERE recorded_at < now() - interval '1 day'
	  AND job_id < ` + schema.OldestUnfinished(jobs.KindActivityIngest) + `
	ORDER BY user_id, activity_id
	LIMIT $1
	FOR UPDATE SKIP LOCKED)`
}

// sweepAuditQuery deletes the oldest rows of the audit log, along the index on their
// times. It uses no key, because the application's table need not have one.
const sweepAuditQuery = `
-- name: sweep_audit
DELETE FROM token_audit_log WHERE ctid = ANY(ARRAY(
	SELECT ctid FROM token_audit_log
	WHERE timestamp < now() - $2::interval
	ORDER BY timestamp
	LIMIT $1
	FOR UPDATE SKIP LOCKED))`

func jittered(interval time.Duration) time.Duration { return interval/2 + rand.N(interval) }

// sweep deletes old rows of the tables that grow with every job, until ctx ends. Any
// number of processes may sweep at once.
func (s *Service) sweep(ctx context.Context) {
	next := time.Now().Add(jittered(sweepInterval))
	for {
		select {
		case <-time.After(jittered(finishedInterval)):
		case <-ctx.Done():
			return
		}
		err := s.sweepFinished(ctx)
		if time.Now().After(next) {
			next = time.Now().Add(jittered(sweepInterval))
			err = errors.Join(err, s.sweepOnce(ctx))
		}
		if err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "old rows not swept, will try again", slog.String("error", err.Error()))
		}
	}
}

// rescue returns jobs of dead processes to their queues, until ctx ends. Jobs of lanes do
// not need it.
func (s *Service) rescue(ctx context.Context) {
	for {
		select {
		case <-time.After(jittered(rescueInterval)):
		case <-ctx.Done():
			return
		}
		err := s.maintain(ctx, func(ctx context.Context) error {
			return s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
				b := &pgx.Batch{}
				queue.Schema(s.config.River.Schema).Rescue(b, rescueAfter)
				return tx.SendBatch(ctx, b).Close()
			})
		})
		if err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "stuck jobs not rescued, will try again", slog.String("error", err.Error()))
		}
	}
}

// sweepFinished deletes finished jobs whose retention is over. Of the kinds whose jobs lanes
// do not delete, completed ones stay for a minute even if the retention is 0.
func (s *Service) sweepFinished(ctx context.Context) error {
	schema := queue.Schema(s.config.River.Schema)
	for _, finished := range []struct {
		state     rivertype.JobState
		retention time.Duration
	}{
		{rivertype.JobStateCompleted, max(s.config.River.CompletedRetention, time.Minute)},
		{rivertype.JobStateCancelled, failedRetention},
		{rivertype.JobStateDiscarded, failedRetention},
	} {
		var from time.Time
		err := s.inPortions(ctx, func(ctx context.Context) (deleted int64, err error) {
			b := &pgx.Batch{}
			schema.DeleteFinished(b, finished.state, finished.retention, sweptRows, &deleted, &from)
			err = s.pool.SendBatch(ctx, b).Close()
			return deleted, err
		})
		if err != nil {
			return fmt.Errorf("%s jobs: %w", finished.state, err)
		}
	}
	return nil
}

func (s *Service) sweepOnce(ctx context.Context) error {
	if err := s.sweepAll(ctx, sweepVersionsQuery(queue.Schema(s.config.River.Schema))); err != nil {
		return fmt.Errorf("recorded versions: %w", err)
	}
	if err := s.sweepOutcomes(ctx); err != nil {
		return fmt.Errorf("outcomes of jobs: %w", err)
	}
	if err := s.sweepAll(ctx, throughput.Forget(s.config.River.Schema)); err != nil {
		return fmt.Errorf("throughput: %w", err)
	}
	if retained := s.config.Tokens.AuditRetention; retained > 0 {
		if err := s.sweepAll(ctx, sweepAuditQuery, retained); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	return nil
}

// sweepOutcomes records up to which id jobs are gone, and deletes marks and outcomes
// older than the retention.
func (s *Service) sweepOutcomes(ctx context.Context) error {
	schema := queue.Schema(s.config.River.Schema)
	err := s.maintain(ctx, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, schema.MarkGone())
		return err
	})
	if err != nil {
		return err
	}
	if err := s.sweepAll(ctx, schema.ForgetMarks(), s.config.River.JobStatusRetention); err != nil {
		return err
	}
	return s.sweepAll(ctx, schema.ForgetOutcomes())
}

// sweepAll executes a statement that deletes, portion by portion.
func (s *Service) sweepAll(ctx context.Context, query string, args ...any) error {
	return s.inPortions(ctx, func(ctx context.Context) (deleted int64, err error) {
		err = s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, query, append([]any{sweptRows}, args...)...)
			deleted = tag.RowsAffected()
			return err
		})
		return deleted, err
	})
}

// inPortions deletes until a portion is not full. The pauses between portions leave
// half of the time to the jobs.
func (s *Service) inPortions(ctx context.Context, deleteSome func(context.Context) (deleted int64, err error)) error {
	for {
		var deleted int64
		began := time.Now()
		err := s.maintain(ctx, func(ctx context.Context) (err error) {
			deleted, err = deleteSome(ctx)
			return err
		})
		if err != nil || deleted < sweptRows {
			return err
		}
		select {
		case <-time.After(time.Since(began)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maintain runs one statement, with a deadline.
func (s *Service) maintain(ctx context.Context, run func(context.Context) error) error {
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.config.Database.StatementTimeout)
	defer cancel()
	return run(ctx)
}
