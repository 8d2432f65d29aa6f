package workers

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/throughput"
	"github.com/trainingmonkey/worker/jobs"
)

const (
	// sweepInterval is how often rows that are no longer needed are deleted.
	sweepInterval = 10 * time.Minute
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

// sweep deletes old rows of the tables that grow with every job, until ctx ends. Any
// number of processes may sweep at once.
func (s *Service) sweep(ctx context.Context) {
	for {
		select {
		case <-time.After(sweepInterval/2 + rand.N(sweepInterval)):
		case <-ctx.Done():
			return
		}
		if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "old rows not swept, will try again", slog.String("error", err.Error()))
		}
	}
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
	mark, cancel := context.WithTimeout(ctx, s.config.Database.StatementTimeout)
	defer cancel()
	if _, err := s.pool.Exec(mark, schema.MarkGone()); err != nil {
		return err
	}
	if err := s.sweepAll(ctx, schema.ForgetMarks(), s.config.River.JobStatusRetention); err != nil {
		return err
	}
	return s.sweepAll(ctx, schema.ForgetOutcomes())
}

// sweepAll deletes portion by portion until one is not full.
func (s *Service) sweepAll(ctx context.Context, query string, args ...any) error {
	for {
		deleted, err := s.sweepSome(ctx, query, args...)
		if err != nil || deleted < sweptRows {
			return err
		}
	}
}

func (s *Service) sweepSome(ctx context.Context, query string, args ...any) (deleted int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Database.StatementTimeout)
	defer cancel()
	tag, err := s.pool.Exec(ctx, query, append([]any{sweptRows}, args...)...)
	return tag.RowsAffected(), err
}
